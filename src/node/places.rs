//! Places: whatever lives on one thread, by number. In chunks, so that it grows without a copy and shrinks
//! again.

/// What has a place.
pub(super) struct Places<T> {
    chunks: Vec<Chunk<T>>,
    /// Which chunks have a free place.
    open: Vec<u32>,
    /// The chunk that was emptied last.
    spare: Option<u32>,
}

struct Chunk<T> {
    places: Vec<Place<T>>,
    /// The first free one of those.
    free: Option<u16>,
    taken: u16,
}

enum Place<T> {
    Taken(T),
    /// And which is the next free one.
    Free(Option<u16>),
}

impl<T> Places<T> {
    /// Gives it a place.
    pub(super) fn insert(&mut self, one: T) -> u32 {
        let at = match self.open.last() {
            Some(&at) => at,
            None => {
                let at = u32::try_from(self.chunks.len()).expect("fewer than 2^40 actors");
                self.chunks.push(Chunk::default());
                self.open.push(at);
                at
            }
        };
        let chunk = &mut self.chunks[at as usize];
        let place = match chunk.free {
            Some(place) => {
                let taken =
                    std::mem::replace(&mut chunk.places[usize::from(place)], Place::Taken(one));
                let Place::Free(next) = taken else { unreachable!("it was free") };
                chunk.free = next;
                place
            }
            None => {
                chunk.places.push(Place::Taken(one));
                chunk.places.len() as u16 - 1
            }
        };
        chunk.taken += 1;
        if chunk.taken == CHUNK {
            self.open.pop();
        }
        at * u32::from(CHUNK) + u32::from(place)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut((at / u32::from(CHUNK)) as usize)?;
        match chunk.places.get_mut((at % u32::from(CHUNK)) as usize)? {
            Place::Taken(one) => Some(one),
            Place::Free(_) => None,
        }
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let of = at / u32::from(CHUNK);
        let chunk = self.chunks.get_mut(of as usize)?;
        let place = chunk.places.get_mut((at % u32::from(CHUNK)) as usize)?;
        let Place::Taken(one) = std::mem::replace(place, Place::Free(chunk.free)) else {
            unreachable!("only who has a place leaves it")
        };
        chunk.free = Some((at % u32::from(CHUNK)) as u16);
        if chunk.taken == CHUNK {
            self.open.push(of);
        }
        chunk.taken -= 1;
        if chunk.taken == 0 {
            // One that is empty keeps its room for those to come.
            let before = self.spare.replace(of).filter(|before| *before != of);
            if let Some(chunk) = before.and_then(|before| self.chunks.get_mut(before as usize))
                && chunk.taken == 0
            {
                *chunk = Chunk::default();
            }
        }
        Some(one)
    }
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places { chunks: Vec::new(), open: Vec::new(), spare: None }
    }
}

impl<T> Default for Chunk<T> {
    fn default() -> Chunk<T> {
        Chunk { places: Vec::new(), free: None, taken: 0 }
    }
}

/// Places in a chunk.
const CHUNK: u16 = 256;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Who has a place keeps it, nobody else has it, and chunks that are empty go, but for one.
        #[test]
        fn a_place_is_one_s_own(acts in prop::collection::vec((0..3_u8, any::<u32>()), 0..3000)) {
            let (mut places, mut model) = (Places::default(), HashMap::new());
            let mut next = 0_u32;
            let mut phase = 0;
            for (act, which) in acts {
                phase += 1;
                // It grows, and shrinks again.
                if act > usize::from(phase > 1500) as u8 {
                    let at = places.insert(next);
                    prop_assert_eq!(model.insert(at, next), None);
                    next += 1;
                } else if let Some(&at) = model.keys().nth(which as usize % model.len().max(1)) {
                    prop_assert_eq!(places.get_mut(at).copied(), model.get(&at).copied());
                    prop_assert_eq!(places.remove(at), model.remove(&at));
                    prop_assert_eq!(places.get_mut(at), None);
                }
            }
            for (at, one) in &model {
                prop_assert_eq!(places.get_mut(*at).copied(), Some(*one));
            }
            for at in model.into_keys() {
                places.remove(at);
            }
            let kept = places.chunks.iter().filter(|chunk| chunk.places.capacity() > 0).count();
            prop_assert!(kept <= 1, "{} chunks are kept", kept);
        }
    }
}
