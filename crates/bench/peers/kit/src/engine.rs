//! A peer as an engine of roas-bench.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use async_trait::async_trait;
use roas_bench::engine::{
    BoxError, Description, Engine, EngineSet, Execution, CallError, Read, ReadSession, Session,
    Stored, table,
};
use roas_bench::operations::{Operation, prefill};
use roas_bench::scenario::Scenario;

use crate::{FACTS, Message, Peer, Prefill, SQLITE_VERSION, Setup};

/// The one engine of a peer's program.
pub(crate) struct Peers<P>(PhantomData<fn() -> P>);

impl<P> Peers<P> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P> fmt::Debug for Peers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

fn setup<P: Peer>(scenario: &Scenario, database: &Path) -> Result<Setup, BoxError> {
    if scenario.engine != P::NAME {
        let (name, engine) = (P::NAME, &scenario.engine);
        return Err(format!("this is the engine {name}, not {engine}: --engine {name}").into());
    }
    let tuned = match scenario.tuning.as_deref() {
        None | Some("default") => false,
        Some("tuned") => true,
        Some(_) => return Err("a peer is set up as default or as tuned".into()),
    };
    Ok(Setup {
        database: database.to_owned(),
        synchronous: scenario.synchronous,
        tuned,
    })
}

#[async_trait]
impl<P: Peer> EngineSet for Peers<P> {
    async fn prepare(
        &self,
        scenario: &Scenario,
        database: &Path,
        _: Stored<'_>,
    ) -> Result<(), BoxError> {
        let messages: Prefill = if scenario.prefill {
            let members = scenario.all_members();
            let messages = prefill(&members, scenario.prefill_over).map(|(member, at)| Message {
                guild: member.guild.to_i64(),
                user: member.user.to_i64(),
                gain: table::GAIN,
                at: at.get(),
            });
            Box::new(messages.collect::<Vec<_>>().into_iter())
        } else {
            Box::new(std::iter::empty())
        };
        P::create(setup::<P>(scenario, database)?, messages).await
    }

    async fn open(
        &self,
        scenario: &Scenario,
        database: &Path,
    ) -> Result<Box<dyn Engine>, BoxError> {
        let peer = P::open(setup::<P>(scenario, database)?).await?;
        // Now, and not when it is asked for: another process may hold the lock by then, and some
        // of the drivers do not wait for it.
        let description = describe(&peer).await?;
        Ok(Box::new(OpenPeer { peer, description }))
    }
}

async fn describe(peer: &impl Peer) -> Result<Description, BoxError> {
    let mut facts = BTreeMap::new();
    for (name, sql) in FACTS {
        facts.insert(name.to_owned(), peer.text(sql).await?);
    }
    Ok(Description {
        sqlite_version: facts.remove(SQLITE_VERSION).unwrap_or_default(),
        pragmas: facts,
    })
}

#[derive(Debug)]
struct OpenPeer<P> {
    peer: P,
    description: Description,
}

#[async_trait]
impl<P: Peer> Engine for OpenPeer<P> {
    fn execution(&self) -> Execution {
        Execution::Tasks
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(Caller(self.peer.clone())))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        Ok(Box::new(Caller(self.peer.clone())))
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        Ok(self.description.clone())
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        self.peer.close().await
    }
}

/// A caller's clone of the driver.
#[derive(Debug)]
struct Caller<P>(P);

#[async_trait]
impl<P: Peer> Session for Caller<P> {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        // One at a time, as the engine tells by not telling another number.
        for operation in operations {
            self.0.store(operation.into()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<P: Peer> ReadSession for Caller<P> {
    async fn read(&mut self, read: Read) -> Result<(), CallError> {
        self.0.read(read.into()).await
    }
}
