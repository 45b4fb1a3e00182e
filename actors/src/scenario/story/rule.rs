//! The rules of OTP that a story cites: their numbers, as `docs/semantics.md` has them, and their names.

/// Why something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Link,
    LinkTwice,
    Unlink,
    OwnLink,
    LinkDead,
    LinkLost,
    BornLinked,
    LostNode,
    Cut,
    NormalEnd,
    NormalIgnored,
    OwnNormal,
    Kill,
    OwnKill,
    Chain,
    OwnEnd,
    Exit2,
    ExitDead,
    Trap,
    Down,
    DownLost,
    Watched,
    WatchedByName,
    WatchedNobody,
    OwnMonitor,
    Demonitor,
    BornWatched,
    NodeWatched,
    NodeGone,
    SpawnOnLost,
    Register,
    BadName,
    NoName,
    Order,
    SentToDead,
}

impl Rule {
    /// Its number, and what it says in a few words.
    pub(super) fn cited(self) -> (&'static str, &'static str) {
        match self {
            Rule::Link => ("L1", "a link works in both directions"),
            Rule::LinkTwice => ("L2", "link is idempotent"),
            Rule::Unlink => ("L3", "either end may unlink"),
            Rule::OwnLink => ("L4", "a link with oneself means nothing"),
            Rule::LinkDead => ("L5-L7", "to link with the dead gives noproc"),
            Rule::LinkLost => ("L8", "to link with a lost node gives noconnection"),
            Rule::BornLinked => ("L10", "spawn_link is atomic: never noproc"),
            Rule::LostNode => ("L11", "a lost node is noconnection for its partners"),
            Rule::Cut => ("N9", "a cut connection breaks what went over it, at both ends"),
            Rule::NormalEnd => ("E1", "an end with normal does not hurt partners"),
            Rule::NormalIgnored => ("E2", "exit(Other, normal) is ignored"),
            Rule::OwnNormal => ("E3", "exit(self(), normal) does end"),
            Rule::Kill => ("E4", "exit(P, kill) cannot be trapped, and becomes killed"),
            Rule::OwnKill => ("E5", "one's own exit(kill) is an ordinary reason for partners"),
            Rule::Chain => ("E7", "the reason is passed on unchanged"),
            Rule::OwnEnd => ("E10", "reasons of one's own end"),
            Rule::Exit2 => ("E12", "exit/2 needs no link, and comes from its caller"),
            Rule::ExitDead => ("E13", "exit/2 on the dead does nothing"),
            Rule::Trap => ("E15", "trap_exit, on and off at any time"),
            Rule::Down => ("M1", "DOWN at every end"),
            Rule::DownLost => ("M3", "DOWN noconnection for a lost node"),
            Rule::Watched => ("M8", "the watched process never notices"),
            Rule::OwnMonitor => ("M9", "a monitor on oneself never fires"),
            Rule::WatchedByName => ("M10", "a monitor by name stays with who had the name"),
            Rule::WatchedNobody => ("M2, M11", "DOWN noproc if nobody is there"),
            Rule::Demonitor => ("M5", "no DOWN after demonitor"),
            Rule::BornWatched => ("M12", "spawn_monitor is atomic: never noproc"),
            Rule::NodeWatched => ("N1", "monitor_node counts requests"),
            Rule::NodeGone => ("N2", "a node that cannot be reached is nodedown at once"),
            Rule::SpawnOnLost => {
                ("N4, N5", "spawn on a lost node: a dead process of the spawner's")
            }
            Rule::Register => {
                ("R1, R3", "names belong to a node, and are free when their holder ends")
            }
            Rule::BadName => ("R2", "badarg: taken, named already, dead, or elsewhere"),
            Rule::NoName => ("R4", "{Name, Node} ! M to nobody is dropped"),
            Rule::Order => ("O1, O4", "what one sends another arrives in order"),
            Rule::SentToDead => ("O2", "a message to the dead vanishes"),
        }
    }
}
