//! The laws of the promise, over faults drawn from a seed: the real client, real sockets, and a process that may die at any
//! request.
//!
//! `NOCLOBBER_SEEDS=2000 cargo nextest run --release --test faults seeded` runs so many.

use noclobber::flow::apply::End;
use noclobber::model::digest::{Checksum, Sha256};
use noclobber::model::entry::Rule;
use noclobber::model::row::{Outcome, Row};
use noclobber::plan::file::Plan;
use noclobber::sandbox::{Fault, Kind};
use sha2::Digest as _;

use crate::dying::Death;
use crate::world::{Run, World};

/// A seeded source of choices (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }
}

fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("NOCLOBBER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// A fault of a write's requests; of its looks only now and then, since the client itself repeats those, with pauses.
fn fault(dice: &mut Seeded, key: &str, in_parts: bool) -> Fault {
    let theirs = Kind::AnotherWriter { text: "theirs".into() };
    let writes = [
        Kind::LostAfterCommit,
        Kind::LostAfterCommit,
        Kind::LostBeforeCommit,
        Kind::Conflict,
        Kind::SlowDown,
        Kind::TooManyRequests,
        Kind::ErrorBeforeCommit,
        Kind::ErrorAfterCommit,
        Kind::RequestTimeout,
        Kind::SlowBody { ms: 3 },
        Kind::SlowAnswer { ms: 3 },
        Kind::Forbidden,
        Kind::ExpiredToken,
        Kind::PermanentRedirect,
        Kind::KmsEtag,
        theirs.clone(),
        theirs.clone(),
        theirs,
    ];
    let completes = [
        Kind::ErrorBodyBeforeCommit,
        Kind::ErrorBodyAfterCommit,
        Kind::NoSuchUploadAfterCommit,
        Kind::OtherChecksum,
        Kind::LostAfterCommit,
        Kind::Conflict,
    ];
    let (operation, kind) = match (dice.below(10), in_parts) {
        (0, _) => ("HeadObject", dice.one_of(&[Kind::Forbidden, Kind::SlowAnswer { ms: 3 }, Kind::ErrorBeforeCommit])),
        (_, false) => ("PutObject", dice.one_of(&writes)),
        (1, true) => ("CreateMultipartUpload", dice.one_of(&writes[..12])),
        (2 | 3, true) => ("UploadPart", dice.one_of(&writes[..14])),
        (4, true) => ("AbortMultipartUpload", dice.one_of(&writes[..4])),
        (5, true) => ("ListParts", dice.one_of(&[Kind::Forbidden, Kind::SlowAnswer { ms: 3 }])),
        (6 | 7, true) => ("CompleteMultipartUpload", dice.one_of(&completes)),
        (_, true) => ("CompleteMultipartUpload", dice.one_of(&writes)),
    };
    let times = if operation == "HeadObject" { 1 } else { 1 + u32::try_from(dice.below(3)).unwrap() };
    Fault { skip: u32::try_from(dice.below(2)).unwrap(), ..Fault::on(operation, kind).key(key).times(times) }
}

/// S3 takes no smaller part, but for the last.
const PART_BYTES: usize = 5 << 20;

/// Pins a file in parts, one of them for a small file: the plan's own word for how it goes, and nobody else's.
fn pin_in_parts(plan: &mut Plan, at: usize, content: &[u8]) {
    let part_bytes = content.len().min(PART_BYTES);
    let mut composite = sha2::Sha256::new();
    let parts = content.chunks(part_bytes);
    let count = u32::try_from(parts.len()).unwrap();
    parts.for_each(|part| composite.update(sha2::Sha256::digest(part)));
    let digest = Sha256(composite.finalize().into());
    let pinned = plan.steps[at].local.as_mut().unwrap();
    pinned.checksum = Some(Checksum::Composite { digest, parts: count, part_bytes: part_bytes as u64 });
}

/// One seed's world from its plan to its last attempt, in calm weather. The ends that its rows came to.
async fn live(seed: u64) -> Vec<Outcome> {
    let mut dice = Seeded(seed);
    let mut world = World::new().await;
    let mut in_parts = Vec::new();
    let entries = 1 + usize::try_from(dice.below(3)).unwrap();
    for at in 0..entries {
        let name = format!("f{at}");
        let mut content: Vec<u8> = (0..100 + 31 * at).map(|n| u8::try_from((n * 7 + at) % 251).unwrap()).collect();
        // Two parts and more cost their bytes, so they are few.
        let is_large = at == 0 && seed.is_multiple_of(8);
        if is_large {
            content.resize(PART_BYTES + 7, b'.');
        }
        let rule = if dice.below(2) == 0 {
            Rule::Never
        } else {
            world.stranger.put(&name, "before").await;
            Rule::IfChanged
        };
        world.add(&name, rule, &content);
        in_parts.push((is_large || dice.below(2) == 0, content));
    }
    let mut plan = world.plan().await;
    for (at, (is, content)) in in_parts.iter().enumerate() {
        if *is {
            pin_in_parts(&mut plan, at, content);
        }
    }
    let mut is_alone = true;
    for _ in 0..=dice.below(4) {
        let at = usize::try_from(dice.below(entries as u64)).unwrap();
        let fault = fault(&mut dice, &format!("f{at}"), in_parts[at].0);
        is_alone &= !matches!(fault.kind, Kind::AnotherWriter { .. });
        world.fault(fault);
    }
    let mut ends = Vec::new();
    for _ in 0..=dice.below(3) {
        let nth = dice.below(20);
        let death = dice.one_of(&[Death::Never, Death::Before(nth), Death::After(nth)]);
        if let Some(run) = world.attempt(&plan, death).await {
            world.hold_the_rows(&plan, &run).await;
            ends.extend(run.rows.iter().map(|row| row.outcome));
        }
    }
    world.sandbox.faults().clear();
    let run = world.attempt(&plan, Death::Never).await.unwrap();
    world.hold_the_rows(&plan, &run).await;
    come_to_an_end(&run, is_alone);
    ends.extend(run.rows.iter().map(|row| row.outcome));
    ends
}

/// In calm weather all is done where nobody else wrote.
fn come_to_an_end(run: &Run, is_alone: bool) {
    assert!(matches!(run.end, End::Finished), "{:?}", run.end);
    let is_done = |row: &Row| matches!(row.outcome, Outcome::Created | Outcome::Replaced);
    for row in &run.rows {
        assert!(is_done(row) || !is_alone, "{row:#?}");
    }
}

#[test]
fn no_list_of_faults_and_no_death_makes_a_row_lie() {
    let mut ends = std::collections::BTreeSet::new();
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lived = std::panic::catch_unwind(|| runtime.block_on(live(seed)));
        match lived {
            Ok(outcomes) => ends.extend(outcomes.iter().map(|outcome| outcome.name())),
            Err(panic) => {
                eprintln!("seed {seed} breaks the promise");
                std::panic::resume_unwind(panic);
            }
        }
    }
    for end in ["created", "replaced", "lost", "failed"] {
        assert!(ends.contains(end), "only {ends:?} were met");
    }
}
