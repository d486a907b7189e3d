//! What a reviewer is shown of a plan, gathered one step at a time: what is dangerous in full, what is harmless folded.
//!
//! The memory does not grow with the plan: of each action so many steps are held, and the rest is counted by folder.

use crate::model::step::{Action, Counts, Footer, Header, Step};

use super::file::Plan;
use super::fold::{Folder, Folders, Sets};

/// So many refusals, errors and replaces, each, are held in full. A plan with more is not reviewed line by line.
pub const HELD_MAX: usize = 10_000;

/// The order in which actions are shown: what a reviewer must see first.
pub const ORDER: [Action; 8] = [
    Action::Refuse,
    Action::Error,
    Action::Delete,
    Action::Restore,
    Action::Replace,
    Action::Create,
    Action::Keep,
    Action::Unchanged,
];

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Groups of harmless steps longer than this are folded by folder.
    Fold(usize),
    All,
}

/// How a group is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Every step is held.
    Each,
    /// No step is held; the folders count them all.
    Folded,
    /// The first steps are held; the folders count the others.
    Cut,
    /// No step is held, and each is to be shown: whoever shows them has to go through the plan once more.
    Again,
}

/// All steps of one action.
#[derive(Debug)]
pub struct Group {
    pub action: Action,
    pub count: u64,
    pub told: Told,
    pub steps: Vec<Step>,
    /// Of the steps that are not held.
    pub folders: Vec<Folder>,
    /// Of all steps.
    pub sets: Sets,
}

/// A plan as it is shown. Only a plan that was read to its footer has one.
#[derive(Debug)]
pub struct Reviewed {
    pub header: Header,
    pub footer: Footer,
    /// Those that have steps, in the order in which they are shown.
    pub groups: Vec<Group>,
}

impl Reviewed {
    /// Whether the plan may not be applied as it is.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let Counts { refuse, error, .. } = self.footer.counts;
        refuse + error > 0 || !self.header.refusals.is_empty()
    }
}

/// Gathers what is shown of a plan. Pure; feed it every step, then finish it.
#[derive(Debug)]
pub struct Review {
    detail: Detail,
    drafts: [Draft; ORDER.len()],
}

#[derive(Debug)]
struct Draft {
    action: Action,
    count: u64,
    /// How many steps are held.
    most: usize,
    steps: Vec<Step>,
    folders: Folders,
    sets: Sets,
}

impl Review {
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        let draft = |action| Draft {
            action,
            count: 0,
            most: match detail {
                Detail::Fold(most) if !needs_an_eye(action) => most,
                Detail::Fold(_) | Detail::All => HELD_MAX,
            },
            steps: Vec::new(),
            folders: Folders::default(),
            sets: Sets::default(),
        };
        Self { detail, drafts: ORDER.map(draft) }
    }

    /// Takes in the next step.
    pub fn add(&mut self, step: &Step) {
        let Some(draft) = self.drafts.iter_mut().find(|draft| draft.action == step.action) else { return };
        draft.count += 1;
        draft.sets.add(step);
        let is_held = draft.count <= draft.most as u64;
        if is_held {
            draft.steps.push(step.clone());
        }
        match self.detail {
            Detail::All if !is_held => draft.steps = Vec::new(),
            Detail::Fold(_) if needs_an_eye(step.action) => {
                if !is_held {
                    draft.folders.add(step);
                }
            }
            Detail::Fold(_) => {
                draft.folders.add(step);
                if !is_held {
                    draft.steps = Vec::new();
                }
            }
            Detail::All => {}
        }
    }

    /// What is to be shown. Header and footer are known last: a plan that is being drawn ends with both.
    #[must_use]
    pub fn finish(self, header: Header, footer: Footer) -> Reviewed {
        let detail = self.detail;
        let groups = self.drafts.into_iter().filter(|draft| draft.count > 0).map(|draft| {
            let Draft { action, count, most, steps, folders, sets } = draft;
            let told = match detail {
                _ if count <= most as u64 => Told::Each,
                Detail::All => Told::Again,
                Detail::Fold(_) if needs_an_eye(action) => Told::Cut,
                Detail::Fold(_) => Told::Folded,
            };
            let folders = if told == Told::Each { Vec::new() } else { folders.finish() };
            Group { action, count, told, steps, folders, sets }
        });
        Reviewed { groups: groups.collect(), header, footer }
    }
}

/// Reviews a plan that is in memory.
#[must_use]
pub fn review(plan: &Plan, detail: Detail) -> Reviewed {
    let mut review = Review::new(detail);
    for step in &plan.steps {
        review.add(step);
    }
    review.finish(plan.header.clone(), plan.footer)
}

/// Whether a step is shown by itself, however many there are.
#[must_use]
pub fn needs_an_eye(action: Action) -> bool {
    match action {
        Action::Refuse | Action::Error | Action::Replace | Action::Restore | Action::Delete => true,
        Action::Create | Action::Keep | Action::Unchanged => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples;

    #[test]
    fn every_step_of_a_long_plan_is_held_or_counted_in_a_folder_and_few_are_held() {
        let mut review = Review::new(Detail::Fold(50));
        let mut counts = Counts::default();
        for n in 1..=150_000 {
            // Of refusals too few to cut, of replaces and creates far too many; of the other actions some.
            let action = match n % 100 {
                0 => Action::Refuse,
                1..=30 => Action::Replace,
                31 => Action::Keep,
                32 if n < 1_000 => Action::Error,
                33 if n < 1_000 => Action::Unchanged,
                _ => Action::Create,
            };
            let step = samples::step(n, &format!("in/{}/{n}.csv", n % 20_000), action);
            counts.add(&step);
            review.add(&step);
        }
        let reviewed =
            review.finish(samples::header(), Footer { counts, digest: crate::model::digest::Sha256([0; 32]) });
        let told: Vec<_> = reviewed.groups.iter().map(|group| (group.action, group.told, group.steps.len())).collect();
        assert_eq!(
            told,
            [
                (Action::Refuse, Told::Each, 1_500),
                (Action::Error, Told::Each, 10),
                (Action::Replace, Told::Cut, HELD_MAX),
                (Action::Create, Told::Folded, 0),
                (Action::Keep, Told::Folded, 0),
                (Action::Unchanged, Told::Each, 10),
            ]
        );
        for group in &reviewed.groups {
            let folded: u64 = group.folders.iter().map(|folder| folder.files).sum();
            assert_eq!(group.steps.len() as u64 + folded, group.count, "{}", group.action);
            assert!(group.folders.len() <= super::super::fold::FOLDERS_MAX);
            assert_eq!(group.sets.by_text.values().sum::<u64>(), group.count);
        }
        let page = crate::plan::text::page(&reviewed, &|_, text| text.to_owned());
        assert!(page.contains("\n    and 35,000 more to replace (--all lists every key):\n"));
        assert!(page.lines().count() < HELD_MAX * 2 + 1_500 * 2 + 300, "{}", page.lines().count());
    }

    #[test]
    fn all_lists_a_long_group_from_a_second_look_and_loses_no_step() {
        let steps: Vec<_> = (1..=10_001).map(|n| samples::step(n, &format!("in/{n}.csv"), Action::Create)).collect();
        let plan = samples::plan(samples::header(), steps);
        assert_eq!(review(&plan, Detail::All).groups[0].told, Told::Again);
        let page = crate::plan::text::render(&plan, Detail::All, &|_, text| text.to_owned());
        let keys: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("  + in/")).collect();
        assert_eq!(keys.len(), 10_001);
        assert!(keys[0].starts_with("1.csv ") && keys[10_000].starts_with("10001.csv "));
    }
}
