//! Failing system calls, in short; `roas-bench torture` has the long form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use roas_faults::calls::{Believed, FailingCalls};
use roas_faults::vfs::{Call, Plan, Reason, SharedMemory};
use roas_faults::{Broken, Findings};

/// Every way in which a call of these kinds can fail, at each `stride`-th place of a session.
fn sweep(
    calls: &FailingCalls,
    kinds: &[Call],
    lasting: bool,
    stride: usize,
) -> Result<Findings, Broken> {
    let mut findings = Findings::default();
    for &call in kinds {
        for &reason in call.reasons() {
            let folder = tempfile::tempdir().unwrap();
            let found = calls.sweep(call, reason, lasting, (1, stride), folder.path())?;
            findings.add(&found);
        }
    }
    Ok(findings)
}

fn in_wal_mode(kinds: &[Call]) {
    let calls = FailingCalls::new(1, SharedMemory::PassedThrough);
    let once = sweep(&calls, kinds, false, 1).unwrap();
    let lasting = sweep(&calls, kinds, true, 4).unwrap();
    assert!(
        once.states > 20 && lasting.states > 5,
        "{once:?} {lasting:?}"
    );
    assert!(once.figures["errors told"] > 0, "{once:?}");
}

#[test]
fn failing_writes_are_told_truly_and_survived() {
    in_wal_mode(&[Call::Write]);
}

#[test]
fn failing_reads_syncs_and_sizes_are_told_truly_and_survived() {
    in_wal_mode(&[Call::Read, Call::Sync, Call::Truncate, Call::Size]);
}

#[test]
fn failing_locks_and_shared_memory_are_told_truly_and_survived() {
    in_wal_mode(&[Call::Lock, Call::ShmMap, Call::ShmLock]);
}

#[test]
fn failing_opens_deletions_and_look_ups_are_told_truly_and_survived() {
    in_wal_mode(&[Call::Open, Call::Delete, Call::Access]);
}

#[test]
fn without_wal_failing_calls_are_told_truly_and_survived() {
    let calls = FailingCalls::new(2, SharedMemory::Missing);
    let once = sweep(&calls, &Call::ALL, false, 3).unwrap();
    let lasting = sweep(&calls, &Call::ALL, true, 12).unwrap();
    assert!(
        once.states > 100 && lasting.states > 30,
        "{once:?} {lasting:?}"
    );
}

/// What breaks where the answers to a failing call are not taken for what they are.
fn mistaken(believed: Believed, plan: Plan) -> String {
    let calls = FailingCalls::new(1, SharedMemory::PassedThrough).believing(believed);
    let folder = tempfile::tempdir().unwrap();
    let Broken(what) = calls.survive(plan, folder.path()).unwrap_err();
    what
}

#[test]
fn an_unknown_outcome_taken_for_a_no_is_found_out() {
    // The syncs of the creation are behind.
    let what = mistaken(
        Believed::UnknownIsNotApplied,
        Plan::from(Call::Sync, Reason::Io, 10),
    );
    assert!(
        what.contains("although its caller was told that it is not"),
        "{what}"
    );
}

#[test]
fn an_acknowledgement_of_what_failed_is_found_out() {
    let what = mistaken(
        Believed::Everything,
        Plan::from(Call::Write, Reason::NoSpace, 60),
    );
    assert!(what.contains("was acknowledged and is lost"), "{what}");
}
