//! The promise, over a bucket that fails on purpose and a stranger who writes beside us: thousands of seeds, each a
//! small world of its own. A failing seed is printed with the faults that it met. Half of the files go in parts.
//!
//! `TMPDIR=/dev/shm NOCLOBBER_SEEDS=20000 cargo nextest run --release --test promise` runs so many of each law; on a disk
//! they wait for it most of the time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// A test awaits its whole world in one place.
#![allow(clippy::large_futures)]

mod dying;
#[path = "../support/rollback.rs"]
mod made;
mod rollback;
mod world;

use noclobber::model::row::{Outcome, Row};
use noclobber::model::step::{Action, Step};
use noclobber::plan::file::Plan;
use noclobber::store::flaky::Rates;

use dying::Death;
use world::{Seeded, World};

/// What a plan's action comes to when nothing goes wrong.
trait Planned {
    fn went_well(self) -> bool;
    fn planned(self) -> Outcome;
}

impl Planned for Action {
    fn went_well(self) -> bool {
        self.planned().is_success()
    }

    fn planned(self) -> Outcome {
        match self {
            Self::Create => Outcome::Created,
            Self::Replace => Outcome::Replaced,
            Self::Restore => Outcome::Restored,
            Self::Delete => Outcome::Deleted,
            Self::Unchanged => Outcome::Unchanged,
            Self::Keep => Outcome::Kept,
            Self::Refuse => Outcome::Refused,
            Self::Error => Outcome::Failed,
        }
    }
}

/// Seeds to run, more where `NOCLOBBER_SEEDS` says so.
fn seeds() -> std::ops::Range<u64> {
    let many = std::env::var("NOCLOBBER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    0..many
}

fn each_seed(name: &str, run: impl Fn(u64) -> std::pin::Pin<Box<dyn Future<Output = ()>>>) {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed))));
        if let Err(panic) = ran {
            eprintln!("{name}: seed {seed} breaks the promise");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_calm_apply_does_all_and_leaves_the_next_plan_nothing_to_do() {
    each_seed("calm", |seed| {
        Box::pin(async move {
            let world = World::new(seed, Rates::calm());
            let plan = world.plan().await;
            // The world's time stands still, so a second plan of it has the very same digest.
            assert_eq!(world.plan().await, plan);
            let rows = world.apply(&plan, false).await;
            world.hold_the_promise(&plan, &rows);
            world.hold_the_uploads();
            // An entry that the plan refused spoils its stage, and the next one is not begun.
            let spoilt = |stage: &str| {
                plan.steps
                    .iter()
                    .any(|step| step.stage.as_deref().unwrap_or("data") == stage && !step.action.went_well())
            };
            for (step, row) in plan.steps.iter().zip(&rows) {
                let held_back = step.stage.as_deref() == Some("index") && step.action.writes() && spoilt("data");
                let expected = if held_back { Outcome::NotAttempted } else { step.action.planned() };
                assert_eq!(row.outcome, expected, "{row:?}");
            }
            if rows.iter().any(|row| row.outcome == Outcome::NotAttempted) {
                return;
            }
            // Nothing is created twice, and only what may always be replaced is replaced again.
            let next = world.plan().await;
            for step in &next.steps {
                assert!(step.action.name() != "create", "{step:?}");
                let again = step.rule.name() == "always" || step.reason.name() == "unproven";
                assert!(step.action.name() != "replace" || again, "{step:?}");
            }
        })
    });
}

/// The ends that rows came to. A law that is never put to the test is worth nothing.
#[derive(Default)]
struct Ends(std::sync::Mutex<std::collections::BTreeSet<&'static str>>);

impl Ends {
    fn note(&self, rows: &[Row]) {
        self.0.lock().unwrap().extend(rows.iter().map(|row| row.outcome.name()));
    }

    fn have(&self, wanted: &[&str]) {
        let ends = self.0.lock().unwrap();
        assert!(wanted.iter().all(|end| ends.contains(end)), "only {ends:?} were met");
    }
}

/// Applies in calm weather until nothing is left to do, and holds all to its word.
async fn come_to_an_end(world: &mut World, plan: &Plan) {
    world.calm_down().await;
    let rows = world.apply(plan, true).await;
    world.hold_the_promise(plan, &rows);
    world.hold_the_uploads();
    world.hold_the_next_plan(plan, &rows).await;
    if world.has_stranger() {
        return;
    }
    // Nobody else wrote: whatever was lost on the way, all is done, but for a stage that a refusal holds back.
    let is_first = |step: &Step| step.stage.as_deref() != Some("index");
    let holds = plan.steps.iter().filter(|step| is_first(step)).all(|step| step.action.went_well());
    for (step, row) in plan.steps.iter().zip(&rows).filter(|(step, _)| holds || is_first(step)) {
        assert_eq!(row.outcome, step.action.planned(), "{step:#?}\n{row:#?}");
    }
}

#[test]
fn a_storm_and_a_stranger_cannot_make_a_row_lie() {
    let ends = std::sync::Arc::new(Ends::default());
    let of_seeds = std::sync::Arc::clone(&ends);
    each_seed("storm", |seed| {
        let ends = std::sync::Arc::clone(&of_seeds);
        Box::pin(async move {
            let mut world = World::new(seed, Rates::stormy());
            let plan = world.plan().await;
            if seed % 4 > 0 {
                world.stranger_strikes_while_we_write();
            }
            // The same apply again and again, as a person would; each time under other faults.
            for again in 0..4 {
                world.next_storm(again);
                let rows = world.apply(&plan, true).await;
                world.hold_the_promise(&plan, &rows);
                ends.note(&rows);
            }
            come_to_an_end(&mut world, &plan).await;
        })
    });
    ends.have(&["created", "replaced", "unchanged", "lost", "stale", "failed", "unknown", "not-attempted"]);
}

#[test]
fn an_apply_that_dies_at_any_request_is_finished_by_the_next() {
    each_seed("crash", |seed| {
        Box::pin(async move {
            let mut world = World::new(seed, Rates::stormy());
            let plan = world.plan().await;
            if seed % 4 > 0 {
                world.stranger_strikes_while_we_write();
            }
            let mut dice = Seeded::new(seed ^ 0xdead);
            for _ in 0..3 {
                let nth = dice.below(60);
                let death = if dice.below(2) == 0 { Death::Before(nth) } else { Death::After(nth) };
                if let Some(rows) = world.apply_and_die(&plan, death).await {
                    world.hold_the_promise(&plan, &rows);
                }
                // Requests that were under way may still land.
                world.next_storm(dice.next());
            }
            come_to_an_end(&mut world, &plan).await;
        })
    });
}

#[test]
fn each_request_of_a_small_run_may_be_its_last() {
    let mut deaths = 0;
    for seed in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        deaths += runtime.block_on(async move {
            for nth in 0.. {
                let mut lives = 0;
                for death in [Death::Before(nth), Death::After(nth)] {
                    let rates = if seed % 2 == 0 { Rates::calm() } else { Rates::stormy() };
                    let mut world = World::of(2, seed, rates);
                    world.next_storm(0);
                    let plan = world.plan().await;
                    lives += u32::from(world.apply_and_die(&plan, death).await.is_some());
                    come_to_an_end(&mut world, &plan).await;
                }
                if lives == 2 {
                    return 2 * nth;
                }
            }
            0
        });
    }
    assert!(deaths > 100, "only {deaths} deaths");
}

#[test]
fn what_moved_between_plan_and_apply_is_named_and_nothing_is_written() {
    let mut stale = 0;
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        stale += runtime.block_on(async move {
            let world = World::new(seed, Rates::calm());
            let plan = world.plan().await;
            // A plan with refusals is only applied in part, and then goes on past what moved.
            if plan.footer.counts.refuse > 0 {
                return 0;
            }
            let moved = world.stranger_moves_some(&plan);
            let rows = world.apply(&plan, false).await;
            let named: Vec<u64> =
                rows.iter().filter(|row| row.outcome == Outcome::Stale).map(|row| row.entry).collect();
            assert_eq!(named, moved, "seed {seed}");
            if !moved.is_empty() {
                assert_eq!(world.our_versions(), 0, "seed {seed}: something was written though the plan was stale");
            }
            world.hold_the_promise(&plan, &rows);
            u64::from(!moved.is_empty())
        });
    }
    assert!(stale > 5, "only {stale} worlds moved");
}
