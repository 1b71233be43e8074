//! The fast form of the faults that take several processes, and the proof that each check finds
//! what it is there for.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use roas_domain::testing::MemoryRepository;
use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, EventOutcome, GuildId,
    GuildRules, LeaderboardLimit, MemberKey, MessageEntry, Period, Rank, RepositoryError,
    ScoreDelta, ScoreEntry, UnixSeconds,
};
use roas_torture::processes::{
    Acknowledge, Histories, Kill, LostFiles, Neighbours, PowerCuts, check, history,
};
use roas_torture::{Fault, FaultReport, run};
use tempfile::tempdir;

/// Runs the program with the words of `line` as its arguments.
fn torture(line: &str) -> Output {
    Command::new(executable())
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn noted(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn executable() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_roas-torture"))
}

fn report(fault: &dyn Fault, rounds: u64) -> FaultReport {
    let folder = tempdir().unwrap();
    run(fault, rounds, 1, folder.path(), |_, _| {})
}

#[test]
fn what_is_acknowledged_survives_kills_of_several_processes() {
    let kill = Kill {
        executable: executable(),
        acknowledge: Acknowledge::AfterCommit,
        start_within: None,
    };
    let report = report(&kill, 8);
    assert_eq!(report.failures, []);
    assert!(report.figures["killed at work"] > 0, "{report:?}");
}

/// What is mounted, to a process and to this one, below a folder.
fn mounted(process: &str, folder: &Path) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mounts")).unwrap_or_default();
    mounts.contains(folder.to_str().unwrap())
}

/// Where mounting is not to be had, the program ends by itself and there is nothing to see.
#[test]
fn a_torture_that_is_killed_leaves_nothing_mounted() {
    let folder = tempdir().unwrap();
    let mut torture = Command::new(executable())
        .args(["--only", "power-ext4", "--rounds", "100"])
        .arg("--dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = torture.id().to_string();
    while torture.try_wait().unwrap().is_none() && !mounted(&process, folder.path()) {
        std::thread::yield_now();
    }
    let seen_by_others = mounted("self", folder.path());
    torture.kill().unwrap();
    torture.wait().unwrap();
    assert!(!seen_by_others);
    assert!(!mounted("self", folder.path()));
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_by_a_kill() {
    let kill = Kill {
        executable: executable(),
        acknowledge: Acknowledge::BeforeCommit,
        start_within: None,
    };
    let report = report(&kill, 8);
    assert!(
        report.failures.iter().any(|failure| failure
            .what
            .contains("acknowledged events are not in the file")),
        "{report:?}"
    );
}

#[test]
fn what_is_acknowledged_survives_lost_files_and_a_kill() {
    let lost_files = LostFiles {
        executable: executable(),
        acknowledge: Acknowledge::AfterCommit,
    };
    let report = report(&lost_files, LostFiles::KINDS);
    assert_eq!(report.failures, []);
    assert!(report.figures["acknowledged"] > 0, "{report:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_around_lost_files() {
    let lost_files = LostFiles {
        executable: executable(),
        acknowledge: Acknowledge::BeforeCommit,
    };
    let report = report(&lost_files, 4);
    assert!(
        report.failures.iter().any(|failure| failure
            .what
            .contains("acknowledged events are not in the file")),
        "{report:?}"
    );
}

/// Rounds of power cuts, where the machine lets the test mount a file system.
fn power_cuts(cuts: &PowerCuts, rounds: u64) -> Option<FaultReport> {
    let report = report(cuts, rounds);
    if let Some(reason) = &report.skipped {
        println!("skipped: {reason}");
        return None;
    }
    Some(report)
}

#[test]
fn what_is_acknowledged_survives_power_cuts_of_a_real_file_system() {
    for shared_memory in [true, false] {
        let cuts = PowerCuts {
            shared_memory,
            ..PowerCuts::new(&executable())
        };
        if let Some(report) = power_cuts(&cuts, 2) {
            assert_eq!(report.failures, []);
            assert!(report.figures["acknowledged"] > 0, "{report:?}");
        }
    }
}

fn loses_what_was_acknowledged(cuts: &PowerCuts) {
    if let Some(report) = power_cuts(cuts, 4) {
        assert!(
            report.failures.iter().any(|failure| failure
                .what
                .contains("acknowledged events are not in the file")),
            "{report:?}"
        );
    }
}

#[test]
fn normal_taken_for_full_is_found_by_a_power_cut() {
    loses_what_was_acknowledged(&PowerCuts {
        durable: false,
        ..PowerCuts::new(&executable())
    });
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_by_a_power_cut() {
    loses_what_was_acknowledged(&PowerCuts {
        acknowledge: Acknowledge::BeforeCommit,
        ..PowerCuts::new(&executable())
    });
}

#[test]
fn hostile_neighbours_are_waited_for_or_named() {
    let neighbours = Neighbours {
        executable: executable(),
        resolve_within: None,
    };
    let report = report(&neighbours, Neighbours::KINDS);
    assert_eq!(report.failures, []);
}

#[test]
fn histories_of_processes_are_linearizable() {
    let histories = Histories {
        executable: executable(),
    };
    let report = report(&histories, 3);
    assert_eq!(report.failures, []);
    assert_eq!(report.states, 30);
}

#[test]
fn the_program_runs_the_faults_it_is_asked_for() {
    let output = torture("--json --only histories,kill --rounds 2 --seed 7");
    assert_eq!(code(&output), 0, "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["seed"], 7);
    let faults: Vec<_> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (&fault["name"], &fault["rounds"], &fault["failed"]))
        .collect();
    // In the order of the list, however they were asked for.
    assert_eq!(
        faults,
        [
            (&"kill".into(), &2.into(), &0.into()),
            (&"histories".into(), &2.into(), &0.into()),
        ]
    );
    assert_eq!(report["faults"][1]["states"], 20);
}

#[test]
fn the_program_lists_its_faults_and_refuses_others() {
    let listed = said(&torture("--list"));
    for fault in ["kill", "power-full", "calls-journal"] {
        assert!(listed.contains(&format!("\n{fault}: ")) || listed.starts_with(fault));
    }
    let refused = torture("--only nobody");
    assert_eq!(code(&refused), 2, "{refused:?}");
    assert!(
        noted(&refused).contains("there is no fault `nobody`: expected one of kill"),
        "{refused:?}"
    );
}

fn explained(repository: impl ActivityRepository + 'static, seed: u64) -> bool {
    let repository: Arc<dyn ActivityRepository> = Arc::new(repository);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let history = runtime.block_on(history(&repository, seed)).unwrap();
    check(&history).is_ok()
}

#[test]
fn the_model_itself_explains_every_history() {
    assert!((0..30).all(|seed| explained(Broken::no(), seed)));
}

#[test]
fn a_stale_read_is_found() {
    assert!((0..10).any(|seed| !explained(Broken::by(Defect::StaleReads), seed)));
}

#[test]
fn a_lost_update_is_found() {
    assert!((0..10).any(|seed| !explained(Broken::by(Defect::LostUpdates), seed)));
}

#[test]
fn an_event_that_counts_twice_is_found() {
    assert!((0..10).any(|seed| !explained(Broken::by(Defect::CountedTwice), seed)));
}

#[test]
fn a_stale_leaderboard_is_found() {
    assert!((0..10).any(|seed| !explained(Broken::by(Defect::StaleBoards), seed)));
}

#[test]
fn a_place_among_fewer_members_is_found() {
    assert!((0..10).any(|seed| !explained(Broken::by(Defect::StaleRanks), seed)));
}

/// What is wrong with a repository.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    /// A member that was looked at once is answered from memory ever after.
    StaleReads,
    /// Every seventh adjustment is answered, and not applied.
    LostUpdates,
    /// Event ids are not looked at.
    CountedTwice,
    /// Leaderboards are as they were when one was last asked for.
    StaleBoards,
    /// So are places.
    StaleRanks,
}

/// A repository in memory with, perhaps, a defect.
#[derive(Debug)]
struct Broken {
    sound: MemoryRepository,
    defect: Option<Defect>,
    seen: std::sync::Mutex<std::collections::HashMap<MemberKey, Option<ActivityRecord>>>,
    before: std::sync::Mutex<Arc<MemoryRepository>>,
    adjustments: std::sync::atomic::AtomicU64,
}

impl Broken {
    fn no() -> Self {
        Self {
            sound: MemoryRepository::new(),
            defect: None,
            seen: std::sync::Mutex::default(),
            before: std::sync::Mutex::default(),
            adjustments: std::sync::atomic::AtomicU64::new(0),
        }
    }

    fn by(defect: Defect) -> Self {
        Self {
            defect: Some(defect),
            ..Self::no()
        }
    }

    /// All as it was at the look before this one.
    fn look(&self) -> Result<Arc<MemoryRepository>, RepositoryError> {
        let now = Arc::new(MemoryRepository::from(self.sound.snapshot()?));
        Ok(std::mem::replace(&mut *self.before.lock().unwrap(), now))
    }
}

#[async_trait]
impl ActivityRepository for Broken {
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        // Other tasks come in between, as they do beside a real store.
        tokio::task::yield_now().await;
        let id = event
            .id
            .filter(|_| self.defect != Some(Defect::CountedTwice));
        self.sound.record(ActivityEvent { id, ..event }).await
    }

    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        tokio::task::yield_now().await;
        let number = self
            .adjustments
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.defect == Some(Defect::LostUpdates) && number % 7 == 3 {
            let copy = MemoryRepository::from(self.sound.snapshot()?);
            return copy.adjust_score(member, delta, at).await;
        }
        self.sound.adjust_score(member, delta, at).await
    }

    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError> {
        tokio::task::yield_now().await;
        let now = self.sound.find_member(member).await?;
        if self.defect == Some(Defect::StaleReads) {
            return Ok(*self.seen.lock().unwrap().entry(member).or_insert(now));
        }
        Ok(now)
    }

    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.record(event).await
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        self.sound.record_many(events).await
    }

    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError> {
        self.sound.messages_in(member, period).await
    }

    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError> {
        tokio::task::yield_now().await;
        let before = self.look()?;
        if self.defect == Some(Defect::StaleBoards) {
            return before.top_scores(guild, at, limit).await;
        }
        self.sound.top_scores(guild, at, limit).await
    }

    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError> {
        self.sound.top_messages(guild, period, limit).await
    }

    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError> {
        tokio::task::yield_now().await;
        let before = self.look()?;
        if self.defect == Some(Defect::StaleRanks) {
            return before.score_rank(member, at).await;
        }
        self.sound.score_rank(member, at).await
    }

    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        self.sound.guild_rules(guild).await
    }

    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        self.sound.set_guild_rules(guild, rules).await
    }

    async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        self.sound.counts().await
    }
}

/// What the fuzzer was given to begin with, and what it has found.
#[test]
fn the_kept_corpus_is_read_without_a_panic() {
    let corpora = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in roas_torture::inputs::TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpora.join(name)).unwrap() {
            #[expect(
                clippy::disallowed_methods,
                reason = "no process has it open as a database"
            )]
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            target(&input);
            inputs += 1;
        }
        assert!(inputs > 0, "{name}");
    }
}
