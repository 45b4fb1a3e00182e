//! Open questions: each ends with an answer, the loss of the node asked, or its deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The questions that this node has asked and that have no answer yet. `T` is who waits.
///
/// Most are answered long before their deadline. So deadlines are noted for a few places in a row together: the earliest, or
/// one before that. Whoever asks again and again notes nothing, as each deadline is later than the last one.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    /// The number that was given out last.
    last: u64,
    /// Each at its number modulo their count, which is a power of two; half of them are free at least.
    places: Vec<Option<Open<T>>>,
    /// For each row of places: no deadline there is earlier than this.
    rows: Vec<Nanos>,
    open: usize,
    /// The same with the row's number, the earliest first; what is no longer true is in there, too.
    notes: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// How many were closed since the places were many for the open ones.
    closed_since: usize,
    /// The node has ended: nobody would watch a deadline.
    closed: bool,
}

/// With a node's waiter in it, it fills one line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
struct Open<T> {
    number: u64,
    waiter: T,
    /// Which connection the question went over.
    over: u64,
    /// [Never](NEVER) if it has ended, and its place is kept for whoever asks what has become of it.
    deadline: Nanos,
}

impl<T> Open<T> {
    fn is_settled(&self) -> bool {
        self.deadline == NEVER
    }
}

impl<T> Calls<T> {
    #[cfg(test)]
    pub(crate) const PLACE_BYTES: usize = size_of::<Option<Open<T>>>();

    pub(crate) fn new() -> Calls<T> {
        Calls {
            last: 0,
            places: Vec::new(),
            rows: Vec::new(),
            open: 0,
            notes: BinaryHeap::new(),
            closed_since: 0,
            closed: false,
        }
    }

    /// Notes a question; returns its number, which is not used again. Hands the waiter back if
    /// nothing can be asked any more.
    pub(crate) fn open(
        &mut self,
        over: Option<u64>,
        deadline: Duration,
        waiter: T,
    ) -> (u64, Option<T>) {
        self.last += 1;
        if self.closed {
            return (self.last, Some(waiter)); // CA-2: a question after the end is over at once
        }
        if 2 * (self.open + 1) > self.places.len() {
            self.resize((2 * self.places.len()).max(PLACES_MIN));
        }
        // A question that has been open for long keeps its place; numbers are skipped instead.
        while self.places[self.place(self.last)].is_some() {
            self.last += 1;
        }
        let (number, at) = (self.last, self.place(self.last));
        let (over, deadline) = (over.unwrap_or(NOWHERE), nanos(deadline));
        self.places[at] = Some(Open { number, waiter, over, deadline });
        self.open += 1;
        self.note(at, deadline);
        (number, None)
    }

    /// Takes the waiter of a question that is over. None: it was over already, a late answer (G6).
    pub(crate) fn close(&mut self, question: u64) -> Option<T> {
        let at = self.find(question)?;
        let open = self.places[at].take()?;
        self.open -= 1;
        self.shrink();
        Some(open.waiter)
    }

    /// Gives a question another deadline.
    pub(crate) fn set_deadline(&mut self, question: u64, deadline: Duration) {
        let Some(at) = self.find(question) else { return };
        let Some(open) = self.places[at].as_mut().filter(|open| !open.is_settled()) else { return };
        let deadline = nanos(deadline);
        open.deadline = deadline;
        self.note(at, deadline);
    }

    /// Who waits for the answer to this question, if it is open.
    pub(crate) fn waiter(&mut self, question: u64) -> Option<&mut T> {
        self.find_open(question).map(|open| &mut open.waiter)
    }

    /// Ends a question, and puts this in the place of its waiter, which is returned: there it stays until the question is
    /// closed, whatever becomes of its deadline and its connection.
    pub(crate) fn settle(&mut self, question: u64, instead: T) -> Option<T> {
        let open = self.find_open(question)?;
        (open.over, open.deadline) = (NOWHERE, NEVER);
        Some(std::mem::replace(&mut open.waiter, instead))
    }

    /// The questions whose deadline has passed, the earliest first. The caller closes or settles each: they are not told
    /// again.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<u64> {
        let (mut due, now) = (Vec::new(), nanos(now));
        while let Some(Reverse((noted, row))) = self.notes.peek().copied()
            && noted <= now
        {
            self.notes.pop();
            if self.rows[row] == noted {
                let passed = self.row(row).filter(|open| open.deadline <= now);
                due.extend(passed.map(|open| (open.deadline, open.number)));
                let left = self.row(row).map(|open| open.deadline).filter(|left| *left > now);
                let left = left.min();
                self.note_row(row, left);
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, question)| question).collect()
    }

    /// The questions that went over this connection, the oldest first.
    pub(crate) fn over(&self, over: u64) -> Vec<u64> {
        let open = self.places.iter().flatten();
        let mut lost: Vec<u64> = open.filter(|o| o.over == over).map(|o| o.number).collect();
        lost.sort_unstable();
        lost
    }

    /// All questions, the oldest first; there will be no more: the node ends. The caller closes or settles each.
    pub(crate) fn close_all(&mut self) -> Vec<u64> {
        self.closed = true;
        self.notes = BinaryHeap::new();
        self.rows.fill(NEVER);
        let open = self.places.iter().flatten().filter(|open| !open.is_settled());
        let mut open: Vec<u64> = open.map(|open| open.number).collect();
        open.sort_unstable();
        open
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<Duration> {
        while let Some(Reverse((noted, row))) = self.notes.peek().copied() {
            if self.rows[row] == noted {
                let next = self.row(row).map(|open| open.deadline).min();
                if next == Some(noted) {
                    return Some(Duration::from_nanos(noted));
                }
                self.notes.pop();
                self.note_row(row, next);
            } else {
                self.notes.pop();
            }
        }
        None
    }

    /// Those in a row that have a deadline.
    fn row(&self, row: usize) -> impl Iterator<Item = &Open<T>> {
        let places = self.places.chunks(ROW).nth(row).unwrap_or_default();
        places.iter().flatten().filter(|open| !open.is_settled())
    }

    /// There is this deadline at this place.
    #[inline]
    fn note(&mut self, at: usize, deadline: Nanos) {
        if deadline < self.rows[at / ROW] {
            self.note_row(at / ROW, Some(deadline));
        }
    }

    /// From now on this is true of the row.
    fn note_row(&mut self, row: usize, deadline: Option<Nanos>) {
        self.rows[row] = deadline.unwrap_or(NEVER);
        if self.notes.len() >= 2 * self.rows.len() + NOTES_SPARE {
            self.notes = self
                .rows
                .iter()
                .zip(0..)
                .filter(|(noted, _)| **noted < NEVER)
                .map(|(noted, row)| Reverse((*noted, row)))
                .collect();
        } else if let Some(deadline) = deadline {
            self.notes.push(Reverse((deadline, row)));
        }
    }

    fn find_open(&mut self, question: u64) -> Option<&mut Open<T>> {
        let at = self.find(question)?;
        self.places[at].as_mut()
    }

    /// Where this question is, if it is open.
    fn find(&self, question: u64) -> Option<usize> {
        let at = self.place(question);
        let open = self.places.get(at)?.as_ref()?;
        (open.number == question).then_some(at)
    }

    fn place(&self, question: u64) -> usize {
        question as usize & self.places.len().wrapping_sub(1)
    }

    /// Halves the places if few are taken, now and then.
    fn shrink(&mut self) {
        let many = self.places.len() > SPARE_MAX && self.open < self.places.len() / 8;
        self.closed_since = if many { self.closed_since + 1 } else { 0 };
        if many && (self.open == 0 || self.closed_since > self.places.len()) {
            self.closed_since = 0;
            let (low, high) = self.places.split_at(self.places.len() / 2);
            let fits = low.iter().zip(high).all(|(a, b)| a.is_none() || b.is_none());
            if self.open == 0 {
                self.resize(0);
            } else if fits {
                self.resize(self.places.len() / 2);
            }
        }
    }

    fn resize(&mut self, places: usize) {
        let room = std::iter::repeat_with(|| None).take(places).collect();
        let before = std::mem::replace(&mut self.places, room);
        self.rows = vec![NEVER; places.div_ceil(ROW)];
        self.notes = BinaryHeap::new();
        for open in before.into_iter().flatten() {
            let (at, deadline) = (self.place(open.number), open.deadline);
            self.places[at] = Some(open);
            self.note(at, deadline);
        }
    }
}

/// A time, as the deadlines have it.
type Nanos = u64;

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER).min(NEVER - 1)
}

/// The deadline of what has none, later than all others.
const NEVER: Nanos = Nanos::MAX;
/// The connection of what went over none, but stays here.
const NOWHERE: u64 = u64::MAX;
/// So many places in a row have one note.
const ROW: usize = 32;
/// The fewest places, a power of two.
const PLACES_MIN: usize = 16;
/// Places that are kept for questions to come.
const SPARE_MAX: usize = 1024;
/// How many notes there may be beside two for each row.
const NOTES_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Clone, Debug)]
    enum Act {
        Open { over: u64, after: u32 },
        Answer(u64),
        Settle(u64),
        Close(u64),
        Defer(u64, u32),
        Pass(u32),
        Lose(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..3u64, 0..50u32).prop_map(|(over, after)| Act::Open { over, after }),
            1 => (0..40u64).prop_map(Act::Answer),
            1 => (0..40u64).prop_map(Act::Settle),
            1 => (0..40u64).prop_map(Act::Close),
            1 => (0..40u64, 0..50u32).prop_map(|(question, after)| Act::Defer(question, after)),
            1 => (0..30u32).prop_map(Act::Pass),
            1 => (0..3u64).prop_map(Act::Lose),
        ]
    }

    /// What a settled question holds instead of its waiter.
    const SETTLED: usize = usize::MAX;

    proptest! {
        /// CA-1: every question ends exactly once, and none is open past its deadline; what has become of one that is
        /// settled stays until it is closed.
        #[test]
        fn every_question_ends_exactly_once(acts in prop::collection::vec(act(), 0..100)) {
            let (mut calls, mut now, mut opened, mut ended) =
                (Calls::new(), Duration::ZERO, Vec::new(), Vec::new());
            let (mut deadlines, mut settled) = (HashMap::new(), Vec::new());
            for act in acts {
                match act {
                    Act::Open { over, after } => {
                        let deadline = now + MS * after;
                        let waiter = opened.len();
                        let (question, _) = calls.open(Some(over), deadline, waiter);
                        opened.push(question);
                        deadlines.insert(waiter, (question, deadline));
                    }
                    Act::Answer(question) => {
                        if !settled.contains(&question) {
                            ended.extend(calls.close(question));
                        }
                    }
                    Act::Settle(question) => {
                        if calls.waiter(question).is_some_and(|waiter| *waiter != SETTLED) {
                            ended.extend(calls.settle(question, SETTLED));
                            settled.push(question);
                        }
                    }
                    Act::Close(question) => {
                        if settled.contains(&question) {
                            prop_assert_eq!(calls.close(question), Some(SETTLED));
                            settled.retain(|kept| *kept != question);
                        }
                    }
                    Act::Defer(question, after) => {
                        calls.set_deadline(question, now + MS * after);
                        for (_, deadline) in deadlines.values_mut().filter(|(of, _)| *of == question) {
                            *deadline = now + MS * after;
                        }
                    }
                    Act::Pass(ms) => {
                        now += MS * ms;
                        for question in calls.due(now) {
                            let waiter = calls.close(question).unwrap();
                            prop_assert!(deadlines[&waiter].1 <= now, "it ended before its deadline");
                            ended.push(waiter);
                        }
                    }
                    Act::Lose(over) => {
                        for question in calls.over(over) {
                            ended.extend(calls.close(question));
                        }
                    }
                }
                deadlines.retain(|waiter, _| !ended.contains(waiter));
                let next = deadlines.values().map(|(_, deadline)| *deadline).min();
                prop_assert_eq!(calls.next_deadline(), next);
            }
            prop_assert!(calls.notes.len() <= 2 * calls.rows.len() + NOTES_SPARE);
            for question in calls.close_all() {
                ended.extend(calls.close(question));
            }
            for question in settled {
                prop_assert_eq!(calls.close(question), Some(SETTLED), "what has become of it stays");
            }
            prop_assert_eq!(calls.open, 0);
            let late = calls.open(None, now, opened.len());
            prop_assert_eq!(late.1, Some(opened.len()), "CA-2");
            ended.sort_unstable();
            let all: Vec<usize> = (0..opened.len()).collect();
            prop_assert_eq!(ended, all);
        }
    }

    #[test]
    fn numbers_go_up_past_those_that_stay_open_and_places_come_back() {
        let mut calls = Calls::new();
        let old: Vec<u64> = (0..8).map(|who| calls.open(None, MS, who).0).collect();
        let many: Vec<u64> = (0..10_000).map(|who| calls.open(None, MS * 2, who).0).collect();
        assert!(old.iter().chain(&many).is_sorted_by(|a, b| a < b), "none is used twice");
        for (who, question) in many.iter().enumerate() {
            assert_eq!(calls.close(*question), Some(who));
            assert_eq!(calls.close(*question), None);
        }
        for _ in 0..100_000 {
            let (question, _) = calls.open(None, MS * 3, 0);
            assert_eq!(calls.close(question), Some(0));
        }
        assert!(calls.places.len() <= SPARE_MAX, "{} places for eight", calls.places.len());
        assert_eq!(calls.next_deadline(), Some(MS));
        assert_eq!(calls.due(MS), old);
        for (who, question) in old.iter().enumerate() {
            assert_eq!(calls.close(*question), Some(who));
        }
        assert_eq!(calls.next_deadline(), None);
    }
}
