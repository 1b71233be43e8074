//! What callers ask of the writer, and the reply each of them waits for.

use std::time::Instant;

use roas_domain::{
    ActivityEvent, ActivityRecord, EventId, EventOutcome, GuildId, GuildRules, MemberKey,
    RepositoryError, ScoreDelta, UnixSeconds,
};

use super::sync::oneshot;

use crate::rank::Buckets;

/// One caller's request.
#[derive(Debug)]
pub(crate) struct Command {
    /// When it was made, before any wait for room in the queue: deadlines count from here.
    pub(crate) submitted_at: Instant,
    pub(crate) work: Work,
}

/// Defines the requests: what each carries, and what its caller receives. A new one is a line here and an
/// arm of `Batch::apply`, which carries it out.
macro_rules! requests {
    ($($(#[$doc:meta])* $variant:ident { $($field:ident: $type:ty),* $(,)? } -> $answer:ty;)+) => {
        #[derive(Debug)]
        pub(crate) enum Work {
            $($(#[$doc])* $variant { $($field: $type,)* reply: Reply<$answer> },)+
            /// Wakes the worker, so that it sees that the queue is to be closed.
            Close,
            #[cfg(test)]
            Panic,
        }

        impl Command {
            /// Reports to the caller that its request is committed.
            pub(crate) fn acknowledge(self) {
                match self.work {
                    $(Work::$variant { reply, .. } => reply.acknowledge(),)+
                    Work::Close => {}
                    #[cfg(test)]
                    Work::Panic => {}
                }
            }

            /// Reports to the caller why its request failed.
            pub(crate) fn fail(self, error: RepositoryError) {
                match self.work {
                    $(Work::$variant { reply, .. } => reply.fail(error),)+
                    Work::Close => {}
                    #[cfg(test)]
                    Work::Panic => {}
                }
            }
        }
    };
}

requests! {
    Record { event: ActivityEvent } -> EventOutcome;
    RecordMany { events: Vec<ActivityEvent> } -> Vec<EventOutcome>;
    Adjust { member: MemberKey, delta: ScoreDelta, at: UnixSeconds } -> ActivityRecord;
    SetRules { guild: GuildId, rules: Box<GuildRules> } -> ();
    /// Forgets those of the ids that were recorded before a time; answers how many.
    Forget { ids: Vec<EventId>, before: UnixSeconds } -> u64;
    /// A task of the maintenance of a guild's ranks; answers whether there is more to do.
    Rank { guild: GuildId, task: RankTask } -> bool;
    /// Has the worker check the database's files, as it does before each transaction.
    LookAfterFiles {} -> ();
}

/// What the maintenance asks for, for the ranks of a guild.
#[derive(Debug)]
pub(crate) enum RankTask {
    /// Begin to build them, where nothing of earlier ones is left.
    Begin(Box<Buckets>),
    /// The next step; without ranks, the removal of what earlier ones have left.
    Step,
    /// Give them up.
    Discard,
    /// Count the members again.
    Recount,
}

/// Where a caller waits. The answer is staged while the transaction runs and sent after its commit;
/// a transaction that is tried again stages anew.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    sender: oneshot::Sender<Result<T, RepositoryError>>,
    staged: Option<Result<T, RepositoryError>>,
}

impl<T> Reply<T> {
    pub(crate) fn pair() -> (Self, oneshot::Receiver<Result<T, RepositoryError>>) {
        let (sender, receiver) = oneshot::channel();
        (
            Self {
                sender,
                staged: None,
            },
            receiver,
        )
    }

    pub(crate) fn stage(&mut self, answer: T) {
        self.staged = Some(Ok(answer));
    }

    /// Stages an error of this request alone: the transaction does not carry it out.
    pub(crate) fn refuse(&mut self, error: RepositoryError) {
        self.staged = Some(Err(error));
    }

    /// Sends what was staged. A caller that has gone away is no error: its request was carried out.
    fn acknowledge(self) {
        if let Some(answer) = self.staged {
            let _ = self.sender.send(answer);
        }
    }

    fn fail(self, error: RepositoryError) {
        let _ = self.sender.send(Err(error));
    }
}

impl Command {
    /// How many events it carries: its weight in a batch.
    pub(crate) fn events(&self) -> usize {
        match &self.work {
            Work::RecordMany { events, .. } => events.len(),
            Work::Forget { ids, .. } => ids.len(),
            _ => 1,
        }
    }

    /// Whether there is nothing to carry out.
    pub(crate) fn only_wakes(&self) -> bool {
        matches!(self.work, Work::Close)
    }

    /// Whether it is the maintenance thread that waits for it, with its connection open.
    pub(crate) fn is_of_maintenance(&self) -> bool {
        matches!(self.work, Work::Forget { .. } | Work::Rank { .. })
    }

    /// Whether the files are to be looked at, however short a time ago that was done.
    pub(crate) fn asks_for_files(&self) -> bool {
        matches!(self.work, Work::LookAfterFiles { .. })
    }
}
