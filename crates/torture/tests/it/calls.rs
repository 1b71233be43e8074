//! Failing system calls, in short; `roas-torture` has the long form.

use roas_db::{Config, Database};
use roas_domain::testing::fixtures::{MIDNIGHT, at, member, message_with_id};
use roas_domain::{ActivityRepository, Effect, RepositoryError, RepositoryErrorKind};
use roas_torture::storage::calls::{Believed, FailingCalls};
use roas_torture::storage::vfs::{Call, FaultyVfs, Plan, Reason, SharedMemory, Syncs};
use roas_torture::{Broken, Findings};

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

/// Zeros for a page that is sound on the disk, to whoever reads it next, once.
#[test]
fn a_page_that_was_misread_is_read_anew() {
    let vfs = FaultyVfs::register();
    vfs.disk().set_syncs(Syncs::AreQuick);
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("roas.db"))
        .vfs(vfs.name())
        .readers(1);
    let (mut next, mut misread) = (1, 0);
    let mut event = || {
        next += 1;
        message_with_id(next, member(1, next), MIDNIGHT)
    };
    let told = |error: RepositoryError| {
        assert_eq!(error.kind(), RepositoryErrorKind::Corrupt, "{error}");
        assert_eq!(error.effect(), Effect::NotApplied);
    };
    roas_torture::runtime().block_on(async {
        let mut written = 0;
        for n in 1..=20 {
            // Closed each time, so that there is no WAL, and the pages are read from the disk.
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            vfs.disk().arm(Plan::once(Call::Read, Reason::Misread, n));
            // Once, whichever of them it meets: the maintenance reads, too.
            let mut failed = 0;
            for _ in 0..2 {
                match repository.record(event()).await {
                    Ok(_) => written += 1,
                    Err(error) => {
                        failed += 1;
                        misread += vfs.disk().mend();
                        told(error);
                    }
                }
            }
            if let Err(error) = repository.counts().await {
                failed += 1;
                misread += vfs.disk().mend();
                told(error);
            }
            assert!(failed <= 1, "{failed} of one read");
            assert_eq!(repository.counts().await.unwrap().messages, written);
            vfs.disk().mend();
            drop(repository);
            database.close().await.unwrap();
        }
    });
    assert!(misread > 5, "{misread}");
}

/// The schema is read anew within the reader's transaction, because the planner's statistics have come
/// to it. SQLite does not tell of a read of those that failed, and has ended the transaction by then.
#[test]
fn a_reader_whose_transaction_was_ended_is_told() {
    let vfs = FaultyVfs::register();
    vfs.disk().set_syncs(Syncs::AreQuick);
    let rank = async |failing: u64| {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("roas.db"))
            .vfs(vfs.name())
            .readers(1);
        let database = Database::open(config).await.unwrap();
        let repository = database.repository();
        let events = (1..=50).map(|id| message_with_id(id, member(1, id), MIDNIGHT));
        repository.record_many(events.collect()).await.unwrap();
        database.maintain().await.unwrap();
        vfs.disk().arm(Plan::once(Call::Read, Reason::Io, failing));
        let rank = repository.score_rank(member(1, 7), at(MIDNIGHT)).await;
        let failed = vfs.disk().mend();
        drop(repository);
        database.close().await.unwrap();
        (failed, rank)
    };
    roas_torture::runtime().block_on(async {
        for n in 1.. {
            let (failed, rank) = rank(n).await;
            if failed == 0 {
                assert!(n > 5, "{n}");
                break;
            }
            assert!(rank.is_err(), "read {n} failed, and {rank:?} was answered");
        }
    });
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
