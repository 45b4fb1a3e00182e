//! The master: an actor that starts the slaves, knows who is in the pool and with what load, places
//! actors, and ends the pool.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use slog::{info, warn};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::Return;
use super::launch::{Gone, Plan, Running, launch};
use super::role::RoleEvent;
use super::tls::Pin;
use super::ways::{Place, Ways, ways};
use super::{Node, Outcome};
use crate::core::differences::{differences, in_a_line};
use crate::core::pace::GAP_MIN;
use crate::core::placement::Placement;
use crate::launcher::{HostFailure, StartFault, StartStep};
use crate::term::{At, Fingerprint, NodeName};
use crate::wire::greeting::{Hello, Part};
use crate::wire::{Answer, Control, MemberInfo, Query};

/// The actor that is the pool's master.
pub(crate) struct Master {
    node: Arc<Node>,
    /// When it will look at its load.
    looks: SpawnHandle,
    /// Nodes that are connected, members or not.
    up: HashMap<NodeName, Peer>,
    /// Addresses of this host at which others have reached us.
    own_ips: BTreeSet<IpAddr>,
    /// Slaves whose OS processes this master has started.
    slaves: HashMap<NodeName, Slave>,
    /// Nodes that are being attached, and why the connection to them came to nothing if it did.
    attaching: HashMap<NodeName, Option<String>>,
    stopping: Option<Vec<Return>>,
}

/// A node that is connected.
struct Peer {
    hello: Hello,
    /// Its address as it is seen from here, if it is on another host.
    ip: Option<IpAddr>,
}

/// A slave from the order to start it until its last OS process is gone.
struct Slave {
    /// Who hears when it has called back, or why it never will; none once that is known.
    starting: Option<oneshot::Sender<Result<(), String>>>,
    /// Dropped to end it: the guard is asked, and then left without its life line.
    alive: Option<oneshot::Sender<()>>,
    /// Who wants a slave of its name, too: they hear when it has called back, or is gone.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Master {
    pub(crate) fn new(node: Arc<Node>) -> Master {
        let info = node.member_info();
        let cores = u32::try_from(node.config.workers).unwrap_or(u32::MAX);
        node.choices().placement().join(info.node, info.incarnation, cores, Some(info.at));
        node.peers().set_master(Some(node.name));
        Master {
            node,
            looks: SpawnHandle::default(),
            up: HashMap::new(),
            own_ips: BTreeSet::new(),
            slaves: HashMap::new(),
            attaching: HashMap::new(),
            stopping: None,
        }
    }

    fn placement(&self) -> MutexGuard<'_, Placement> {
        self.node.choices().placement()
    }

    fn join(&mut self, them: &Hello) {
        self.placement().join(them.node, them.incarnation, them.cores, them.at.clone());
        if let Some(at) = self.place_of(them.node) {
            self.node.peers().place(them.node, at);
        }
        self.tell_members();
    }

    /// Where a member is, as others may need it: what it does not know of itself is what is seen from
    /// here. A node of this host has this host's addresses.
    fn place_of(&self, node: NodeName) -> Option<At> {
        let at = self.placement().members().get(node)?.at.clone()?;
        let ips: Vec<IpAddr> = match at.host == self.node.config.host {
            true => self.own_ips.iter().copied().collect(),
            false => self.up.get(&node).and_then(|peer| peer.ip).into_iter().collect(),
        };
        Some(at.filled_in(&ips))
    }

    fn leave(&mut self, node: NodeName) {
        if self.placement().leave(node).is_some() {
            self.node.peers().unplace(node);
            self.tell_members();
        }
    }

    /// Tells every connected node who is in the pool, and where.
    fn tell_members(&self) {
        let members: Vec<_> =
            self.placement().members().iter().map(|m| (m.name, m.incarnation)).collect();
        let info =
            |(node, incarnation)| Some(MemberInfo { node, incarnation, at: self.place_of(node)? });
        let members: Vec<MemberInfo> = members.into_iter().filter_map(info).collect();
        for node in self.up.keys() {
            if let Some(link) = self.node.peers().get(*node) {
                link.tell(&Control::Members(members.clone()));
            }
        }
    }

    fn report_own_load(&mut self, ctx: &mut Context<Self>) {
        self.node.look_at_clock();
        self.node.log_refusals();
        let gap = self.node.reporter.look(&self.node);
        self.node.send_tables();
        if gap == GAP_MIN {
            self.node.watch_less();
        }
        self.looks = ctx.run_later(gap, Master::report_own_load);
    }

    fn asked(&mut self, query: Query, to: Return, ctx: &mut Context<Self>) {
        let answer = match query {
            Query::Place => Answer::Placed(self.placement().place(self.node.now())),
            Query::Unplace(node) => {
                self.placement().cancel(node);
                Answer::Done
            }
            Query::Loads => Answer::Loads(self.placement().nodes_and_load(self.node.now())),
            Query::Explain => {
                let reasons = self.placement().explain(self.node.now());
                Answer::Explained(reasons.iter().map(ToString::to_string).collect())
            }
            Query::Kinds => Answer::Kinds(super::registry::kinds()),
            Query::IsAlive(pid) => Answer::Alive(self.node.is_alive(pid)),
            Query::Enlist(_) => Answer::Refused("the master of a pool of its own".to_owned()),
            Query::Attach { node, at, fingerprint } => {
                return self.attach(node, at, fingerprint, to, ctx);
            }
            Query::Credentials => self.credentials_for(&to),
            Query::HaveCall(node) => self.have_call(node, &to),
            Query::StopPool => return self.stop(to, ctx),
        };
        to.tell(&self.node, answer);
    }

    /// Only for commands: members have theirs from the start, and nobody gets those of another.
    ///
    /// TL-2: for the name that the asker has proved on its connection, whatever it asks for; and not if a slave of ours is
    /// to have it.
    fn credentials_for(&self, to: &Return) -> Answer {
        let asker = to.link.as_ref().and_then(|link| self.up.get(&link.peer));
        let asker = asker.filter(|peer| peer.hello.part == Part::Hidden);
        let asker = asker.filter(|peer| !self.slaves.contains_key(&peer.hello.node));
        match (asker, &self.node.config.authority) {
            (Some(peer), Some(authority)) => match authority.issue(peer.hello.node) {
                Ok(credentials) => Answer::Credentials(Box::new(credentials)),
                Err(why) => Answer::Refused(why.to_string()),
            },
            (None, _) => Answer::Refused("credentials are for commands only".to_owned()),
            (_, None) => Answer::Refused("this pool has no authority".to_owned()),
        }
    }

    /// Has one member call another, which has no way to it.
    fn have_call(&self, node: NodeName, to: &Return) -> Answer {
        let asker = to.link.as_ref().map(|link| link.peer);
        let asker = asker.filter(|asker| self.placement().members().get(*asker).is_some());
        let link = self.node.peers().get(node).filter(|_| self.up.contains_key(&node));
        match (asker, link) {
            (Some(asker), Some(link)) => {
                link.tell(&Control::Call(asker));
                Answer::Done
            }
            (None, _) => Answer::Refused("only members are called".to_owned()),
            (_, None) => Answer::Refused(format!("{node} is not connected")),
        }
    }

    /// Why a node that is no member is not attached under this name, or at this place.
    ///
    /// TL-2: each member may have nodes attached, but gets no second name by it, and not that of a slave. Whoever brings
    /// up another node for it is trusted, as all are who are in the pool.
    fn not_attachable(&self, name: NodeName, at: &At) -> Option<String> {
        if self.slaves.contains_key(&name) {
            return Some(format!(
                "{name} is a slave of this pool, on its way in or out: wait, or use another name"
            ));
        }
        let shared = |member| Some((at.shared_with(&self.place_of(member)?)?, member));
        let members = self.placement().nodes();
        let (address, member) = members.into_iter().find_map(shared)?;
        Some(format!("{member} is at {address}, and in the pool already: {name} is elsewhere"))
    }

    fn attach(
        &mut self,
        name: NodeName,
        at: At,
        fingerprint: Option<Fingerprint>,
        to: Return,
        ctx: &mut Context<Self>,
    ) {
        if self.placement().members().get(name).is_some() {
            let answer = Answer::Attached { already: true, differences: Vec::new() };
            return to.tell(&self.node, answer);
        }
        if let Some(why) = self.not_attachable(name, &at) {
            return to.tell(&self.node, Answer::Refused(why));
        }
        let credentials = self.node.config.authority.as_ref().map(|ours| ours.issue(name));
        let credentials = match credentials.transpose() {
            Ok(credentials) => credentials,
            Err(why) => return to.tell(&self.node, Answer::Refused(why.to_string())),
        };
        let pin = match (fingerprint, ways(&at, self.node.config.host)) {
            (Some(fingerprint), _) => Some(Pin::Exactly(fingerprint)),
            (None, Ways::Tls(_)) => Some(Pin::Unknown),
            (None, Ways::Plain(_) | Ways::None) => None,
        };
        self.node.peers().place(name, Place { at, pin });
        self.attaching.insert(name, None);
        let (node, me) = (self.node.clone(), ctx.address());
        actix_rt::spawn(async move {
            let within = node.config.times.spawn;
            let refused = match node.query(name, Query::Enlist(credentials), within).await {
                Outcome::Told(Answer::Done) => match me.send(Enlisted(name)).await {
                    Ok(Some(them)) => {
                        let differences = differences_to(&node, &them).await;
                        let answer = Answer::Attached { already: false, differences };
                        return to.tell(&node, answer);
                    }
                    Ok(None) | Err(_) => "lost again at once".to_owned(),
                },
                Outcome::Told(Answer::Refused(why)) => why,
                Outcome::TimedOut => format!("no answer within {within:?}"),
                _ => "not reached".to_owned(),
            };
            let why_lost = me.send(NotAttached(name)).await.ok().flatten();
            to.tell(&node, Answer::Refused(why_lost.unwrap_or(refused)));
        });
    }

    /// Ends all other nodes of the pool; answers when the last slave's last OS process is gone.
    fn stop(&mut self, to: Return, ctx: &mut Context<Self>) {
        if let Some(waiting) = &mut self.stopping {
            return waiting.push(to);
        }
        self.stopping = Some(vec![to]);
        self.node.close();
        let members = self.placement().nodes();
        for member in members {
            if let Some(link) = self.node.peers().get(member) {
                link.tell(&Control::Halt);
            }
        }
        for slave in self.slaves.values_mut().filter(|slave| slave.starting.is_some()) {
            slave.alive = None;
        }
        ctx.run_later(self.node.config.times.stop, |master, _| {
            for (name, slave) in &mut master.slaves {
                warn!(master.node.log, "does not halt, ended by force"; "peer" => %name);
                slave.alive = None;
            }
        });
        self.stopped_if_all_gone(ctx);
    }

    fn stopped_if_all_gone(&mut self, ctx: &mut Context<Self>) {
        if !self.slaves.is_empty() {
            return;
        }
        let Some(waiting) = self.stopping.take() else { return };
        self.stopping = Some(Vec::new()); // whoever asks from now on hears at the end of the node
        let node = self.node.clone();
        let links: Vec<_> = waiting.iter().filter_map(|to| to.link.clone()).collect();
        for to in waiting {
            to.tell(&node, Answer::Done);
        }
        ctx.spawn(actix::fut::wrap_future(async move {
            // Whoever asked from another node has to hear before the connection goes.
            let drained = join_all(links.iter().map(|link| link.drained()));
            let _ = timeout(FAREWELL, drained).await;
            node.stop();
        }));
    }
}

impl Actor for Master {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.report_own_load(ctx);
    }
}

impl Handler<RoleEvent> for Master {
    type Result = ();

    fn handle(&mut self, event: RoleEvent, ctx: &mut Context<Self>) {
        match event {
            RoleEvent::PeerUp { them, ends } => {
                let (node, part) = (them.node, them.part);
                // An address of loopback is that of whatever stands between.
                let far = |ip: IpAddr| Some(ip.to_canonical()).filter(|ip| !ip.is_loopback());
                self.own_ips.extend(ends.and_then(|ends| far(ends.ours.ip())));
                let ip = ends.and_then(|ends| far(ends.theirs.ip()));
                self.up.insert(node, Peer { hello: them.clone(), ip });
                if part != Part::Hidden && them.digest != super::registry::digest() {
                    actix_rt::spawn(tell_differences(self.node.clone(), them.clone()));
                }
                let slave = self.slaves.get_mut(&node).filter(|_| part == Part::Slave);
                let called_back = slave.and_then(|slave| {
                    Some((slave.starting.take()?, std::mem::take(&mut slave.waiting)))
                });
                match called_back {
                    Some((starting, waiting)) => {
                        self.join(&them);
                        let _ = starting.send(Ok(()));
                        drop(waiting); // they look again
                    }
                    None => self.tell_members(),
                }
            }
            RoleEvent::PeerDown { node, why } => {
                self.up.remove(&node);
                self.node.choices().forget_chooser(node);
                self.leave(node);
                if let Some(slave) = self.slaves.get_mut(&node) {
                    slave.alive = None; // S6: it has lost us, too
                }
                if let Some(noted) = self.attaching.get_mut(&node) {
                    *noted = Some(why);
                }
            }
            RoleEvent::Asked { query, to } => self.asked(query, to, ctx),
            RoleEvent::Given => {
                ctx.cancel_future(self.looks);
                self.report_own_load(ctx);
            }
            RoleEvent::Halt { from } => {
                warn!(self.node.log, "a master takes no orders"; "from" => %from);
            }
        }
    }
}

/// A node has said that it is in the pool. Answers who it is, if it is still connected.
struct Enlisted(NodeName);

impl Message for Enlisted {
    type Result = Option<Hello>;
}

impl Handler<Enlisted> for Master {
    type Result = Option<Hello>;

    fn handle(&mut self, Enlisted(node): Enlisted, _: &mut Context<Self>) -> Option<Hello> {
        let them = self.up.get(&node)?.hello.clone();
        self.attaching.remove(&node);
        self.join(&them);
        Some(them)
    }
}

/// A node was not attached: forget where it is. Answers why its connection was lost, if it was.
struct NotAttached(NodeName);

impl Message for NotAttached {
    type Result = Option<String>;
}

impl Handler<NotAttached> for Master {
    type Result = Option<String>;

    fn handle(&mut self, NotAttached(node): NotAttached, _: &mut Context<Self>) -> Option<String> {
        if self.placement().members().get(node).is_none() {
            self.node.peers().unplace(node);
        }
        self.attaching.remove(&node).flatten()
    }
}

/// Start a slave; answers when it is in the pool and its own actors run.
pub(crate) struct StartSlave(pub(crate) Plan);

impl Message for StartSlave {
    type Result = Result<NodeName, HostFailure>;
}

impl Handler<StartSlave> for Master {
    type Result = ResponseFuture<Result<NodeName, HostFailure>>;

    fn handle(&mut self, StartSlave(plan): StartSlave, ctx: &mut Context<Self>) -> Self::Result {
        let name = plan.name;
        let host = plan.host.clone();
        let fails = move |step, why: String| StartFault::new(step, why).at(&host);
        if self.stopping.is_some() {
            return Box::pin(
                async move { Err(fails(StartStep::Launch, "the pool stops".to_owned())) },
            );
        }
        if self.up.contains_key(&name) {
            // P5, P6: a node of that name is there already
            return Box::pin(async move { Ok(name) });
        }
        let me = ctx.address();
        // S3: what has not called back yet, or is lost and on its way out, is not there: nobody could
        // start anything on it.
        if let Some(slave) = self.slaves.get_mut(&name) {
            let (tell, told) = oneshot::channel();
            slave.waiting.push(tell);
            return Box::pin(async move {
                let _ = told.await;
                let again = me.send(StartSlave(plan)).await;
                again.unwrap_or_else(|_| Err(fails(StartStep::Launch, "the pool stops".to_owned())))
            });
        }
        let (starting, called_back) = oneshot::channel();
        let (alive, ending) = oneshot::channel();
        let (starting, alive) = (Some(starting), Some(alive));
        self.slaves.insert(name, Slave { starting, alive, waiting: Vec::new() });
        let node = self.node.clone();
        Box::pin(async move {
            let launched = {
                let launching = std::pin::pin!(launch(&node, &plan));
                match select(launching, ending).await {
                    Either::Left((launched, ending)) => launched.map(|running| (running, ending)),
                    // Dropped, a launch leaves nothing.
                    Either::Right(_) => Err(fails(StartStep::Launch, "the pool stops".to_owned())),
                }
            };
            let (running, ending) = match launched {
                Ok(launched) => launched,
                Err(failure) => {
                    me.do_send(SlaveGone { name, why: failure.why.clone() });
                    return Err(failure);
                }
            };
            let said = running.said.clone();
            let (attending, told) = (node.clone(), me.clone());
            actix_rt::spawn(async move {
                let Gone { why } = attend(&attending, name, running, ending).await;
                told.do_send(SlaveGone { name, why });
            });
            let after = node.config.times.start;
            let why = match timeout(after, called_back).await {
                Ok(Ok(Ok(()))) => {
                    said.can_talk();
                    let via = node.peers().get(name).and_then(|link| link.via());
                    plan.passed(
                        StartStep::CallBack,
                        &via.map(|via| via.to_string()).unwrap_or_default(),
                    );
                    return Ok(name);
                }
                Ok(Ok(Err(why))) => why,
                Ok(Err(_)) => "the pool stops".to_owned(),
                Err(_) => {
                    me.do_send(GiveUp(name));
                    format!("it did not call back within {after:?}")
                }
            };
            Err(fails(StartStep::CallBack, said.with_tail(&why)))
        })
    }
}

/// These are to be listed in this order.
pub(crate) struct Arrange(pub(crate) Vec<NodeName>);

impl Message for Arrange {
    type Result = ();
}

impl Handler<Arrange> for Master {
    type Result = ();

    fn handle(&mut self, Arrange(order): Arrange, _: &mut Context<Self>) {
        self.placement().arrange(&order);
        self.tell_members();
    }
}

/// A slave's OS processes are gone.
struct SlaveGone {
    name: NodeName,
    why: String,
}

impl Message for SlaveGone {
    type Result = ();
}

impl Handler<SlaveGone> for Master {
    type Result = ();

    fn handle(&mut self, SlaveGone { name, why }: SlaveGone, ctx: &mut Context<Self>) {
        if self.stopping.is_none() {
            info!(self.node.log, "slave gone"; "peer" => %name, "reason" => &why);
        }
        if let Some(starting) = self.slaves.remove(&name).and_then(|slave| slave.starting) {
            let _ = starting.send(Err(why));
        }
        self.stopped_if_all_gone(ctx);
        if let Some(launcher) = self.node.config.launching.launcher.clone()
            && self.slaves.is_empty()
        {
            let node = self.node.clone();
            ctx.spawn(actix::fut::wrap_future(async move {
                let over = spawn_blocking(move || launcher.is_over()).await;
                if let Some(why) = over.ok().flatten() {
                    warn!(node.log, "the pool ends"; "reason" => why);
                    node.stop();
                }
            }));
        }
    }
}

/// A slave has not called back in time.
struct GiveUp(NodeName);

impl Message for GiveUp {
    type Result = ();
}

impl Handler<GiveUp> for Master {
    type Result = ();

    fn handle(&mut self, GiveUp(name): GiveUp, _: &mut Context<Self>) {
        if let Some(slave) = self.slaves.get_mut(&name) {
            slave.alive = None;
        }
    }
}

/// Tells the log what a peer can start that this node cannot, and the other way round.
async fn tell_differences(node: Arc<Node>, them: Hello) {
    let differs = in_a_line(&differences_to(&node, &them).await);
    if !differs.is_empty() {
        warn!(node.log, "can start other things than this node"; "peer" => %them.node, "differs" => differs);
    }
}

/// What a peer can start that this node cannot, and the other way round.
async fn differences_to(node: &Arc<Node>, them: &Hello) -> Vec<String> {
    if them.digest == super::registry::digest() {
        return Vec::new();
    }
    match node.query(them.node, Query::Kinds, node.config.times.spawn).await {
        Outcome::Told(Answer::Kinds(there)) => differences(&super::registry::kinds(), &there),
        _ => vec!["it does not say what it can start".to_owned()],
    }
}

/// Attends a slave's guard until it is gone. When `ending` comes, the guard is asked to end, its life
/// line is cut, and if it still lives then, it is killed.
async fn attend(
    node: &Node,
    slave: NodeName,
    running: Running,
    ending: oneshot::Receiver<()>,
) -> Gone {
    let Running { line, kill, said: _, gone } = running;
    let mut gone = gone.map(|gone| gone.unwrap_or(Gone { why: "it was lost".to_owned() }));
    if let Either::Right((gone, _)) = select(ending, &mut gone).await {
        return gone;
    }
    line.end(FAREWELL).await;
    if let Ok(gone) = timeout(node.config.times.stop, &mut gone).await {
        return gone;
    }
    warn!(node.log, "a guard, or what reaches it, does not end: killed"; "slave" => %slave);
    let _ = kill.send(());
    gone.await
}

/// For last words to a peer or a guard.
const FAREWELL: Duration = Duration::from_secs(1);
