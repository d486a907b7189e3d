//! What must hold in every state, and what must be reachable lest the rest be said of nothing.
//!
//! The promise has limits, and these are the ones that the laws allow:
//!
//! - `If-Match` sees content, not versions: where a stranger brings the planned bytes back, they are what the plan
//!   names. `If-None-Match` sees absence, not history: a request that was given up lands where somebody deleted.
//! - Where nobody can tell, a row says `unknown`, stored or not.
//! - A request that something on the way sends twice is answered once. What the other one stores after the key was looked
//!   at, or where the history cannot be searched, is not known to anybody.

use stateright::Property;

use crate::client::Client;
use crate::world::{By, Done, Ended, Past, Stage, State, World};

pub const BURIES: &str = "a write buries nothing but what its plan names";
pub const CLAIMS: &str = "a row claims no write that did not happen, and names its version";
pub const DENIES: &str = "a row that says no was not written";
pub const DOUBTS: &str = "once in doubt, a row says done or unknown";
pub const OURS: &str = "no row says lost while its own object is there";
pub const THEIRS: &str = "a row says lost only where somebody else wrote or deleted";
pub const UNKNOWN: &str = "a row says unknown only where an answer was missed";

fn ends(state: &State) -> impl Iterator<Item = (usize, Ended)> {
    state.uploaders.iter().enumerate().filter_map(|(who, uploader)| match uploader.stage {
        Stage::Ended(ended) => Some((who, ended)),
        Stage::Asks(..) | Stage::Answered(..) => None,
    })
}

fn says_no(ended: Ended) -> bool {
    match ended {
        Ended::Lost { .. } | Ended::SourceChanged | Ended::Failed | Ended::Stopped => true,
        Ended::Done { .. } | Ended::Unknown => false,
    }
}

fn buries_what_is_planned<C: Client>(world: &World<C>, state: &State) -> bool {
    state.history.iter().enumerate().all(|(at, past)| match past.by {
        By::Uploader(who) => {
            let before = at.checked_sub(1).and_then(|before| state.history[before].content);
            before == world.bounds.uploaders[who].over
        }
        By::Before | By::Stranger => true,
    })
}

fn claims_what_happened<C: Client>(_: &World<C>, state: &State) -> bool {
    ends(state).all(|(who, ended)| match ended {
        Ended::Done { version: Some(at), .. } => state.history[at].by == By::Uploader(who),
        Ended::Done { version: None, .. } => state.was_stored(who, true),
        Ended::Lost { .. } | Ended::SourceChanged | Ended::Failed | Ended::Stopped | Ended::Unknown => true,
    })
}

fn denies_what_did_not_happen<C: Client>(_: &World<C>, state: &State) -> bool {
    ends(state).all(|(who, ended)| !says_no(ended) || !state.was_stored(who, false))
}

fn doubts_to_the_end<C: Client>(_: &World<C>, state: &State) -> bool {
    ends(state).all(|(who, ended)| !says_no(ended) || !state.uploaders[who].is_in_doubt)
}

fn sees_its_own<C: Client>(world: &World<C>, state: &State) -> bool {
    // What a look saw may be over when its answer comes.
    world.bounds.answers_wait || !ends(state).any(|(_, ended)| ended == Ended::Lost { ours_was_there: true })
}

fn lost_to_somebody<C: Client>(world: &World<C>, state: &State) -> bool {
    ends(state).all(|(who, ended)| {
        let planned = world.bounds.uploaders[who].over.is_some();
        let is_other = |by: By| by != By::Uploader(who) && !(planned && by == By::Before);
        !matches!(ended, Ended::Lost { .. }) || state.history.iter().any(|past| is_other(past.by))
    })
}

fn unknown_for_a_reason<C: Client>(_: &World<C>, state: &State) -> bool {
    ends(state).all(|(who, ended)| ended != Ended::Unknown || state.uploaders[who].missed_an_answer)
}

fn twice(state: &State, who: usize) -> bool {
    state.history.iter().filter(|past| past.by == By::Uploader(who)).count() > 1
}

fn ended(state: &State, is: fn(Ended) -> bool) -> bool {
    ends(state).any(|(_, ended)| is(ended))
}

fn done(state: &State, how: fn(Done) -> bool) -> bool {
    ends(state).any(|(_, ended)| matches!(ended, Ended::Done { how: told, .. } if how(told)))
}

type Law<C> = fn(&World<C>, &State) -> bool;

/// What a world can come to. Each test names what its own must reach; among it are the limits of the promise, so that
/// they are known to be real.
fn reachable<C: Client>() -> Vec<(&'static str, Law<C>)> {
    vec![
        ("done: told", |_, state| done(state, |how| how == Done::Told)),
        ("done: seen", |_, state| done(state, |how| how == Done::Seen)),
        ("done: found", |_, state| done(state, |how| how == Done::Found)),
        ("lost", |_, state| ended(state, |ended| matches!(ended, Ended::Lost { .. }))),
        ("unknown", |_, state| ended(state, |ended| ended == Ended::Unknown)),
        ("unknown, stored", |_, state| {
            ends(state).any(|(who, ended)| ended == Ended::Unknown && state.was_stored(who, true))
        }),
        ("failed", |_, state| ended(state, |ended| ended == Ended::Failed)),
        ("stopped", |_, state| ended(state, |ended| ended == Ended::Stopped)),
        ("source-changed", |_, state| ended(state, |ended| ended == Ended::SourceChanged)),
        ("all stored", |_, state| (0..state.uploaders.len()).all(|who| state.was_stored(who, true))),
        // The limits.
        ("stored twice", |_, state| (0..state.uploaders.len()).any(|who| twice(state, who))),
        ("the planned bytes were back", |_, state| {
            let is_back = |pair: &[Past]| {
                pair[0].by == By::Stranger && pair[0].content.is_some() && matches!(pair[1].by, By::Uploader(_))
            };
            state.history.windows(2).any(is_back)
        }),
        ("no, and a copy stored it", |_, state| {
            ends(state).any(|(who, ended)| says_no(ended) && state.was_stored(who, true))
        }),
    ]
}

/// The laws, and what the world must be able to come to, lest they be said of nothing.
pub fn laws<C: Client>(reaches: &[&'static str]) -> Vec<Property<World<C>>> {
    let mut properties = vec![
        Property::always(BURIES, buries_what_is_planned),
        Property::always(CLAIMS, claims_what_happened),
        Property::always(DENIES, denies_what_did_not_happen),
        Property::always(DOUBTS, doubts_to_the_end),
        Property::always(OURS, sees_its_own),
        Property::always(THEIRS, lost_to_somebody),
        Property::always(UNKNOWN, unknown_for_a_reason),
    ];
    let reachable = reachable();
    for name in reaches {
        let (name, is_so) = reachable.iter().find(|(known, _)| known == name).expect("a known end");
        properties.push(Property::sometimes(name, *is_so));
    }
    properties
}
