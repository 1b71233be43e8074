//! Power loss, in short; `roas-torture` has the long form.

use roas_db::Durability;
use roas_torture::storage::power::{Acknowledged, PowerLoss};
use roas_torture::storage::vfs::{SharedMemory, Syncs};
use roas_torture::{Broken, Findings};

fn round(power: &PowerLoss, seed: u64) -> Result<Findings, Broken> {
    power.round(seed, tempfile::tempdir().unwrap().path())
}

#[test]
fn under_full_nothing_acknowledged_is_lost() {
    let found = round(&PowerLoss::default(), 1).unwrap();
    assert!(found.states > 1_000, "{found:?}");
}

#[test]
fn under_normal_only_a_tail_is_missing() {
    let normal = PowerLoss {
        durability: Durability::Normal,
        acknowledged_survives: false,
        ..PowerLoss::default()
    };
    let found = round(&normal, 2).unwrap();
    assert!(found.states > 1_000, "{found:?}");
}

#[test]
fn without_wal_nothing_acknowledged_is_lost_either() {
    let journal = PowerLoss {
        shared_memory: SharedMemory::Missing,
        steps: 20,
        ..PowerLoss::default()
    };
    let found = round(&journal, 3).unwrap();
    assert!(found.states > 500, "{found:?}");
}

#[test]
fn normal_taken_for_full_is_found_out() {
    let mistaken = PowerLoss {
        durability: Durability::Normal,
        ..PowerLoss::default()
    };
    let Broken(what) = round(&mistaken, 2).unwrap_err();
    assert!(what.contains("was acknowledged and is lost"), "{what}");
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let lying = PowerLoss {
        syncs: Syncs::Lie,
        ..PowerLoss::default()
    };
    assert!(round(&lying, 1).is_err());
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_out() {
    let early = PowerLoss {
        acknowledged: Acknowledged::WhenAsked,
        ..PowerLoss::default()
    };
    let Broken(what) = round(&early, 1).unwrap_err();
    assert!(what.contains("was acknowledged and is lost"), "{what}");
}
