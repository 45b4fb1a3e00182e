//! Deliberately wrong semantics, to show that the comparison with a real OTP notices each of them. Not
//! in any build but one with the feature `mutants`.

macro_rules! mutants {
    ($($mutant:ident,)*) => {
        /// One way in which pspawn could be wrong about OTP's rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $($mutant,)*
        }

        /// All of them, as `PSPAWN_MUTANT` names them.
        #[cfg(feature = "mutants")]
        pub(crate) const ALL: &[&str] = &[$(stringify!($mutant)),*];
    };
}

#[rustfmt::skip]
mutants! {
    // links
    LinkTwiceUnlinks, LinkOneWay, LinkToTheDeadIsSilent, LinkedFromBirthLate, UnlinkOneSided, UnlinkLate,
    // exit signals
    NormalKills, SelfNormalIgnored, KillTrappable, KillOverLinkUntrappable, KillKeepsItsName,
    LastReasonWins, ReasonLostOnTheWay, TrappedExitBreaksLink, TrapOffForgotten, ExitSignalUnlinked,
    // monitors
    DownLost, DownOnlyOnce, DownWhenNormalLost, DemonitorForgotten, DownSaysPid, NoProcIsNormal,
    // names
    NameStays, NameTakenOver,
    // nodes
    LostNodeIsNoProc, NodeDownOnce, NodeDownTakenBackStays,
    // supervisors
    TransientAlways, TemporaryRestarts, IntensityOffByOne, RestForOneIsOneForOne,
    OneForAllIsRestForOne, BrutalKillIsGentle, FailedStartIsNotTriedAgain, ParentsNormalIgnored,
}

/// Whether pspawn is to be wrong in this way: in a build for it, if `PSPAWN_MUTANT` says so.
#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("PSPAWN_MUTANT").unwrap_or_default());
    !chosen.is_empty() && format!("{mutant:?}") == *chosen
}

/// Never: wrong semantics are not built in.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
