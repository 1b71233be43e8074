//! No memory for SQLite, in short; `roas-torture` has the long form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use roas_torture::storage::calls::{Believed, FailingCalls};
use roas_torture::storage::memory::Memory;
use roas_torture::storage::vfs::SharedMemory;
use roas_torture::{Broken, Findings};

/// Sessions that are refused memory at every so many-th request: once, several times, and for good.
fn starve(calls: &FailingCalls, memory: Memory) -> Result<Findings, Broken> {
    let mut findings = Findings::default();
    for (count, stride) in [(1, 499), (5, 1_511), (u64::MAX, 2_503)] {
        let folder = tempfile::tempdir().unwrap();
        findings.add(&calls.starve(memory, count, (1, stride), folder.path())?);
    }
    Ok(findings)
}

/// One test, because SQLite's memory is the whole process's.
#[test]
fn memory_that_is_refused_is_told_truly_and_survived() {
    let memory = Memory::take_over().expect("nobody was before us");
    for shared_memory in [SharedMemory::PassedThrough, SharedMemory::Missing] {
        let calls = FailingCalls::new(1, shared_memory);
        let found = starve(&calls, memory).unwrap();
        assert!(found.states > 50, "{found:?}");
        assert!(found.figures["errors told"] > 50, "{found:?}");
    }

    // Callers who take a failure for a yes are found out.
    let mistaken =
        FailingCalls::new(1, SharedMemory::PassedThrough).believing(Believed::Everything);
    let Broken(what) = starve(&mistaken, memory).unwrap_err();
    assert!(what.contains("was acknowledged and is lost"), "{what}");
}
