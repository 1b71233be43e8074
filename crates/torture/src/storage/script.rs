//! A scripted session with a database, and what the database must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;
use roas_domain::testing::Model;
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, guild, member, message_with_id};
use roas_domain::{ActivityEvent, GuildId, GuildRules, MemberKey, ScoreDelta, UnixSeconds};
use rusqlite::{Connection, OpenFlags};

use crate::Broken;
use crate::storage::play::Answer;

/// Guilds in which messages are written, and users in each.
const GUILDS: u64 = 2;
const USERS: u64 = 6;

/// The guild in which scores are adjusted, each member once.
const ADJUSTED_GUILD: u64 = 100;

/// The first of the guilds for which rules are set, each once.
const RULED_GUILDS: u64 = 1_000;

/// One write, whose effect can be told from the file alone.
#[derive(Debug, Clone)]
pub enum Act {
    /// Records an event; the file remembers its id.
    Record(ActivityEvent),
    /// Adjusts the score of a member of whom nothing else is stored.
    Adjust {
        /// The member.
        member: MemberKey,
        /// By how much.
        delta: ScoreDelta,
        /// When.
        at: UnixSeconds,
    },
    /// Sets the rules of a guild of which nothing else is stored.
    SetRules {
        /// The guild.
        guild: GuildId,
        /// Its rules.
        rules: GuildRules,
    },
}

/// What is done in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// One act, and its answer is waited for.
    Alone(usize),
    /// Events in one call, all or none of them.
    Together(Range<usize>),
    /// Events of different members, each in a call of its own, all at the same time.
    AtOnce(Range<usize>),
    /// A round of reads.
    Read,
    /// A round of maintenance.
    Maintain,
    /// The database is closed, and opened again.
    Reopen,
}

/// What steps are made of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Record,
    Together,
    AtOnce,
    Adjust,
    SetRules,
    Read,
    Maintain,
    Reopen,
}

/// A session: what is written, and in which steps.
#[derive(Debug, Clone)]
pub struct Script {
    /// The writes, in order.
    pub acts: Vec<Act>,
    /// The steps, which do all of them in order.
    pub steps: Vec<Step>,
}

impl Script {
    /// A session of `steps` steps, as `seed` has it. It ends with the database open.
    #[must_use]
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kinds: Vec<Kind> = (0..steps)
            .map(|_| match rng.u8(..100) {
                0..50 => Kind::Record,
                50..62 => Kind::Together,
                62..74 => Kind::AtOnce,
                74..78 => Kind::Adjust,
                78..82 => Kind::SetRules,
                82..90 => Kind::Read,
                90..96 => Kind::Maintain,
                _ => Kind::Reopen,
            })
            .collect();
        Self::of(&kinds, &mut rng)
    }

    /// A short session in which everything happens once at least, as `seed` has it. It ends with
    /// the database open.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut kinds = [
            Kind::Record,
            Kind::Record,
            Kind::Together,
            Kind::AtOnce,
            Kind::Adjust,
            Kind::SetRules,
            Kind::Read,
            Kind::Maintain,
            Kind::Reopen,
        ];
        rng.shuffle(&mut kinds);
        let [first, last] = [[Kind::Record], [Kind::Record]];
        Self::of(&[&first, &kinds[..], &last].concat(), &mut rng)
    }

    fn of(kinds: &[Kind], rng: &mut Rng) -> Self {
        let mut script = Self {
            acts: Vec::new(),
            steps: Vec::new(),
        };
        let mut now = MIDNIGHT;
        for (number, kind) in (0_u64..).zip(kinds) {
            let first = script.acts.len();
            let step = match kind {
                Kind::Record => {
                    script.record(rng, &mut now, None);
                    Step::Alone(first)
                }
                Kind::Together => {
                    for _ in 0..rng.usize(1..12) {
                        script.record(rng, &mut now, None);
                    }
                    Step::Together(first..script.acts.len())
                }
                Kind::AtOnce => {
                    let mut places: Vec<u64> = (0..GUILDS * USERS).collect();
                    rng.shuffle(&mut places);
                    for place in &places[..rng.usize(2..8)] {
                        script.record(rng, &mut now, Some(*place));
                    }
                    Step::AtOnce(first..script.acts.len())
                }
                Kind::Adjust => {
                    script.acts.push(Act::Adjust {
                        member: member(ADJUSTED_GUILD, number + 1),
                        delta: delta(f64::from(rng.u8(1..90))),
                        at: at(now),
                    });
                    Step::Alone(first)
                }
                Kind::SetRules => {
                    script.acts.push(Act::SetRules {
                        guild: guild(RULED_GUILDS + number),
                        rules: GuildRules::default(),
                    });
                    Step::Alone(first)
                }
                Kind::Read => Step::Read,
                Kind::Maintain => Step::Maintain,
                Kind::Reopen => Step::Reopen,
            };
            script.steps.push(step);
        }
        script
    }

    fn record(&mut self, rng: &mut Rng, now: &mut i64, place: Option<u64>) {
        let place = place.unwrap_or_else(|| rng.u64(..GUILDS * USERS));
        let member = member(place / USERS + 1, place % USERS + 1);
        *now += rng.i64(0..40);
        // Some come late.
        let late = if rng.u8(..8) == 0 { rng.i64(0..600) } else { 0 };
        let id = self.acts.len() as u64 + 1;
        let event = message_with_id(id, member, *now - late);
        self.acts.push(Act::Record(event));
    }

    /// All events, in order.
    #[must_use]
    pub fn events(&self) -> Vec<ActivityEvent> {
        self.acts
            .iter()
            .filter_map(|act| match act {
                Act::Record(event) => Some(*event),
                _ => None,
            })
            .collect()
    }

    /// The members whose events are recorded.
    #[must_use]
    pub fn members() -> Vec<MemberKey> {
        (0..GUILDS * USERS)
            .map(|place| member(place / USERS + 1, place % USERS + 1))
            .collect()
    }

    /// Which of the acts a file holds, after it was made sure that it holds nothing else: what is
    /// stored is to the bit what the rule makes of those acts, in their order.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn held_by(&self, stored: &Stored) -> Result<Vec<bool>, Broken> {
        let held: Vec<bool> = self.acts.iter().map(|act| stored.holds(act)).collect();
        let mut model = Model::default();
        let mut expected = Stored::default();
        for (act, _) in self.acts.iter().zip(&held).filter(|(_, held)| **held) {
            match act {
                Act::Record(event) => {
                    model.record(event);
                    expected
                        .ids
                        .extend(event.id.map(roas_domain::EventId::to_i64));
                }
                Act::Adjust { member, delta, at } => {
                    model.adjust_score(*member, *delta, *at);
                }
                Act::SetRules { guild, rules } => {
                    model.set_guild_rules(*guild, rules.clone());
                    expected.rules.insert(guild.to_i64());
                }
            }
        }
        expected.fill_from(&model);
        expected.compare(stored)?;
        for step in &self.steps {
            if let Step::Together(acts) = step {
                let count = held[acts.clone()].iter().filter(|held| **held).count();
                if count != 0 && count != acts.len() {
                    return Err(Broken::new(format_args!(
                        "of the {} events of one call, {count} are stored",
                        acts.len()
                    )));
                }
            }
        }
        Ok(held)
    }

    /// As [`Self::held_by`], and makes sure that what callers were told is true: what was applied is
    /// there, what was not is not.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn agrees(&self, answers: &[Answer], stored: &Stored) -> Result<(), Broken> {
        let held = self.held_by(stored)?;
        for (act, (answer, held)) in answers.iter().zip(held).enumerate() {
            match (answer, held) {
                (Answer::Applied, false) => {
                    return Err(Broken::new(format_args!(
                        "write {act} was acknowledged and is lost"
                    )));
                }
                (Answer::NotApplied | Answer::NotAsked, true) => {
                    return Err(Broken::new(format_args!(
                        "write {act} is stored, although its caller was told that it is not"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes sure that every event is stored and counted once, in whatever order they came.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn all_counted_once(&self, stored: &Stored) -> Result<(), Broken> {
        let mut expected = BTreeMap::<(i64, i64), i64>::new();
        for event in self.events() {
            *expected.entry(key(event.member)).or_default() += 1;
        }
        let counted: BTreeMap<_, _> = stored
            .members
            .iter()
            .filter(|((guild, _), _)| *guild <= GUILDS.cast_signed())
            .map(|(key, (_, _, messages))| (*key, *messages))
            .collect();
        let mut days = BTreeMap::<(i64, i64), i64>::new();
        for ((_, guild, user), messages) in &stored.days {
            *days.entry((*guild, *user)).or_default() += messages;
        }
        if counted != expected || days != expected {
            return Err(Broken::new(format_args!(
                "after all events were delivered again, the members count {counted:?}, the days \
                 {days:?}; expected {expected:?}"
            )));
        }
        Ok(())
    }
}

fn key(member: MemberKey) -> (i64, i64) {
    (member.guild.to_i64(), member.user.to_i64())
}

/// What a database file holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stored {
    ids: BTreeSet<i64>,
    /// Score, last message, messages; by guild and user.
    members: BTreeMap<(i64, i64), (f64, i64, i64)>,
    /// Messages; by day, guild and user.
    days: BTreeMap<(String, i64, i64), i64>,
    /// The guilds that have rules.
    rules: BTreeSet<i64>,
}

impl Stored {
    /// Looks into a file past the adapter, and has SQLite check it. `vfs` as the database's.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn in_file(path: &Path, vfs: Option<&str>) -> Result<Self, Broken> {
        Self::read(path, vfs)
            .map_err(|error| Broken::new(format_args!("cannot look into the database: {error}")))?
    }

    fn read(path: &Path, vfs: Option<&str>) -> rusqlite::Result<Result<Self, Broken>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        #[expect(
            clippy::disallowed_methods,
            reason = "it looks at the file past the adapter"
        )]
        let connection = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
            None => Connection::open_with_flags(path, flags)?,
        };
        let integrity: String =
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if integrity != "ok" {
            return Ok(Err(Broken::new(format_args!(
                "the file is corrupt: {integrity}"
            ))));
        }
        let column = |sql: &str| -> rusqlite::Result<BTreeSet<i64>> {
            connection
                .prepare(sql)?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        let mut stored = Self {
            ids: column("SELECT event_id FROM activity_event")?,
            rules: column("SELECT guild_id FROM activity_settings")?,
            ..Self::default()
        };
        let mut members = connection
            .prepare("SELECT guild_id, user_id, score, last_msg, messages FROM activity_meter")?;
        let mut rows = members.query([])?;
        while let Some(row) = rows.next()? {
            let state = (row.get(2)?, row.get(3)?, row.get(4)?);
            stored.members.insert((row.get(0)?, row.get(1)?), state);
        }
        let mut days =
            connection.prepare("SELECT ymd, guild_id, user_id, msg_cnt FROM activity_daily")?;
        let mut rows = days.query([])?;
        while let Some(row) = rows.next()? {
            let key = (row.get(0)?, row.get(1)?, row.get(2)?);
            stored.days.insert(key, row.get(3)?);
        }
        Ok(Ok(stored))
    }

    /// How many events it remembers.
    #[must_use]
    pub fn events(&self) -> usize {
        self.ids.len()
    }

    fn holds(&self, act: &Act) -> bool {
        match act {
            Act::Record(event) => event.id.is_some_and(|id| self.ids.contains(&id.to_i64())),
            Act::Adjust { member, .. } => self.members.contains_key(&key(*member)),
            Act::SetRules { guild, .. } => self.rules.contains(&guild.to_i64()),
        }
    }

    fn fill_from(&mut self, model: &Model) {
        for record in model.records() {
            let state = (
                record.score.get(),
                record.last_message_at.get(),
                record.messages.cast_signed(),
            );
            self.members.insert(key(record.member), state);
        }
        for (member, day, messages) in model.day_counts() {
            let (guild, user) = key(member);
            self.days
                .insert((day.to_string(), guild, user), messages.cast_signed());
        }
    }

    fn compare(&self, found: &Self) -> Result<(), Broken> {
        fn differs<T: PartialEq + std::fmt::Debug>(
            what: &str,
            expected: &T,
            found: &T,
        ) -> Result<(), Broken> {
            if expected == found {
                return Ok(());
            }
            Err(Broken::new(format_args!(
                "the stored {what} are not whole: expected {expected:?}, found {found:?}"
            )))
        }
        differs("event ids", &self.ids, &found.ids)?;
        differs("members", &self.members, &found.members)?;
        differs("days", &self.days, &found.days)?;
        differs("rules", &self.rules, &found.rules)
    }
}
