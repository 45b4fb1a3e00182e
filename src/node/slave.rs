//! The slave: an actor that serves one master. It tells its load, learns from the master who else is in
//! the pool, and ends with it.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, SpawnHandle};
use slog::{info, warn};

use super::role::RoleEvent;
use super::{Node, launch};
use crate::core::pace::GAP_MIN;
use crate::term::NodeName;
use crate::wire::greeting::{Hello, Part};
use crate::wire::{Answer, Query};

/// The actor of a slave, of a free node, and of a hidden one.
pub(crate) struct Slave {
    node: Arc<Node>,
    /// When it will look at its load.
    looks: SpawnHandle,
}

impl Slave {
    pub(crate) fn new(node: Arc<Node>) -> Slave {
        Slave { node, looks: SpawnHandle::default() }
    }

    fn master(&self) -> Option<NodeName> {
        self.node.peers().master()
    }

    fn report(&mut self, ctx: &mut Context<Self>) {
        self.node.look_at_clock();
        self.node.log_refusals();
        let gap = self.node.reporter.look(&self.node);
        if let Some(link) = self.master().and_then(|master| self.node.peers().get(master))
            && let Some(chosen) = self.node.untold_choices()
        {
            link.push_urgent(&chosen);
        }
        if gap == GAP_MIN {
            self.node.watch_less();
        }
        self.looks = ctx.run_later(gap, Slave::report);
    }

    /// SL-1: a slave does not outlive its connection to the master, in whatever way that broke (S6).
    fn end_with_master(&self, why: &str) {
        match self.node.config.part {
            Part::Slave => {
                warn!(self.node.log, "ends"; "reason" => why.to_owned());
                match &self.node.config.life_line {
                    Some(_) => launch::end_worker(),
                    None => self.node.stop(), // it was not launched: the OS process is not its own
                }
            }
            Part::Free | Part::Hidden | Part::Master => {
                // P37: an attached node stays up, without a pool.
                info!(self.node.log, "is in no pool any more"; "reason" => why.to_owned());
                self.node.peers().set_master(None);
                if self.node.config.part == Part::Free {
                    let _ = self.node.set_credentials(None); // those of a pool end with it
                }
            }
        }
    }

    fn answer(&mut self, query: Query, from: Option<NodeName>) -> Answer {
        match query {
            Query::Kinds => Answer::Kinds(super::registry::kinds()),
            Query::IsAlive(pid) => Answer::Alive(self.node.is_alive(pid)),
            Query::Enlist(credentials) => match (from, self.master()) {
                (Some(from), None) if self.node.config.part == Part::Free => {
                    if let Err(why) = self.node.set_credentials(credentials.as_ref()) {
                        return Answer::Refused(why.to_string());
                    }
                    info!(self.node.log, "is in a pool now"; "master" => %from);
                    self.node.peers().set_master(Some(from));
                    self.node.reporter.begin_anew();
                    Answer::Done
                }
                (from, Some(master)) if from == Some(master) => Answer::Done,
                (_, Some(master)) => Answer::Refused(format!("in the pool of {master} already")),
                (_, None) => Answer::Refused("not a node that can be attached".to_owned()),
            },
            Query::Place
            | Query::Unplace(_)
            | Query::Loads
            | Query::Explain
            | Query::Attach { .. }
            | Query::StopPool
            | Query::Credentials
            | Query::HaveCall(_) => Answer::Refused("not the master of a pool".to_owned()),
        }
    }
}

impl Actor for Slave {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.report(ctx);
    }
}

impl Handler<RoleEvent> for Slave {
    type Result = ();

    fn handle(&mut self, event: RoleEvent, ctx: &mut Context<Self>) {
        match event {
            RoleEvent::PeerUp { them: Hello { node, part: Part::Master, .. }, .. }
                if self.node.config.part == Part::Slave =>
            {
                info!(self.node.log, "serves"; "master" => %node);
            }
            RoleEvent::PeerUp { .. } => self.node.reporter.begin_anew(),
            RoleEvent::PeerDown { node, why } => {
                if self.master() == Some(node) {
                    self.node.choices().forget_master();
                    self.end_with_master(&format!("master {node} lost: {why}"));
                }
            }
            RoleEvent::Asked { query, to } => {
                let from = to.link.as_ref().map(|link| link.peer);
                let answer = self.answer(query, from);
                to.tell(&self.node, answer);
            }
            RoleEvent::Halt { from } if self.master() == Some(from) => {
                if self.node.config.part == Part::Slave {
                    self.node.show_last_output();
                    launch::end_worker_in_peace();
                }
                // P31: stop halts attached nodes too.
                self.node.stop();
            }
            RoleEvent::Given => {
                ctx.cancel_future(self.looks);
                self.report(ctx);
            }
            RoleEvent::Halt { from } => {
                warn!(self.node.log, "not my master, not halted"; "from" => %from);
            }
        }
    }
}
