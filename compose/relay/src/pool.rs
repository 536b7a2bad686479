//! The sessions behind one route, and whose turn it is.
//!
//! Classic weighted round robin: a threshold steps down from the largest weight by the greatest
//! common divisor, and each pass takes the members at or above it. Weights a=1, b=3 give
//! `b b a b`, over and over.

/// Who is asked next among the members of one route.
#[derive(Debug)]
pub struct Pool<T> {
    members: Vec<Member<T>>,
    /// Index of the member picked last; `None` before the first pick.
    last: Option<usize>,
    threshold: u64,
}

#[derive(Debug)]
struct Member<T> {
    id: u64,
    weight: u64,
    value: T,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            last: None,
            threshold: 0,
        }
    }
}

impl<T: Clone> Pool<T> {
    /// Adds a member behind the present ones, which it never displaces. Weight 0 counts as 1.
    pub fn add(&mut self, id: u64, weight: u64, value: T) {
        self.members.push(Member {
            id,
            weight: weight.max(1),
            value,
        });
        self.restart();
    }

    pub fn remove(&mut self, id: u64) {
        self.members.retain(|member| member.id != id);
        self.restart();
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn members(&self) -> impl Iterator<Item = &T> {
        self.members.iter().map(|member| &member.value)
    }

    /// The member whose turn it is; `None` when there is none. Takes at most two passes: in each
    /// the heaviest member is at or above the threshold.
    pub fn pick(&mut self) -> Option<T> {
        let heaviest = self.members.iter().map(|member| member.weight).max()?;
        let step = self.members.iter().map(|member| member.weight).fold(0, gcd);
        loop {
            let index = self.last.map_or(0, |last| (last + 1) % self.members.len());
            if index == 0 {
                self.threshold = match self.threshold.saturating_sub(step) {
                    0 => heaviest,
                    lower => lower,
                };
            }
            self.last = Some(index);
            if self.members[index].weight >= self.threshold {
                return Some(self.members[index].value.clone());
            }
        }
    }

    fn restart(&mut self) {
        self.last = None;
        self.threshold = 0;
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn weights_one_and_three_give_b_b_a_b() {
        let mut pool = Pool::default();
        pool.add(1, 1, 'a');
        pool.add(2, 3, 'b');
        let picks: String = (0..8).filter_map(|_| pool.pick()).collect();
        assert_eq!(picks, "bbabbbab");
    }

    #[test]
    fn a_single_member_always_wins_and_an_empty_pool_has_none() {
        let mut pool = Pool::default();
        assert_eq!(pool.pick(), None::<char>);
        pool.add(1, 7, 'a');
        assert!((0..5).all(|_| pool.pick() == Some('a')));
        pool.remove(1);
        assert!(pool.is_empty());
        assert_eq!(pool.pick(), None);
    }

    proptest! {
        #[test]
        fn over_one_round_each_member_is_picked_by_its_weight(weights in prop::collection::vec(1u64..9, 1..6)) {
            let mut pool = Pool::default();
            for (id, weight) in (0..).zip(&weights) {
                pool.add(id, *weight, id);
            }
            let step = weights.iter().copied().fold(0, gcd);
            let round: u64 = weights.iter().sum::<u64>() / step;
            let mut counts = HashMap::new();
            for _ in 0..round {
                *counts.entry(pool.pick().unwrap()).or_insert(0) += 1;
            }
            for (id, weight) in (0..).zip(&weights) {
                prop_assert_eq!(counts.get(&id).copied().unwrap_or(0), weight / step);
            }
        }
    }
}
