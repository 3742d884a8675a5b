//! The network: late, lossy, doubling, reordering, and cut one way or both.

use crate::event::{Event, Message, Millis, Party, Schedule};
use crate::random::Random;
use std::collections::BTreeMap;

/// How bad it is in this run.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Messages lost, in a thousand.
    pub loss: u64,
    /// Messages that arrive twice, in a thousand.
    pub twice: u64,
    /// Slowest ordinary message.
    pub delay_max: Millis,
    /// Messages that are much later than others, in a thousand.
    pub late: u64,
}

/// The network.
pub struct Network {
    weather: Weather,
    /// Direction -> how many cuts lie on it.
    cuts: BTreeMap<(Party, Party), u32>,
    random: Random,
}

impl Network {
    /// Whole, in the given weather.
    #[must_use]
    pub fn new(weather: Weather, random: Random) -> Self {
        Network { weather, cuts: BTreeMap::new(), random }
    }

    /// Sends, or loses.
    pub fn send(&mut self, now: Millis, from: Party, to: Party, message: Message, schedule: &mut Schedule) {
        let Weather { loss, twice, delay_max, late } = self.weather;
        if self.is_cut(from, to) || self.random.chance(loss) {
            return;
        }
        let copies = 1 + u64::from(self.random.chance(twice));
        for _ in 0..copies {
            let tail = if self.random.chance(late) { self.random.below(2000) } else { 0 };
            let delay = self.random.between(1, delay_max + 1) + tail;
            schedule.at(now + delay, Event::Deliver { from, to, message: message.clone() });
        }
    }

    /// Whether nothing passes in this direction.
    #[must_use]
    pub fn is_cut(&self, from: Party, to: Party) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: Party, to: Party) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Ends one cut.
    pub fn join(&mut self, from: Party, to: Party) {
        if let Some(count) = self.cuts.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&(from, to));
            }
        }
    }

    /// Fair weather and no cuts from now on.
    pub fn calm(&mut self) {
        self.cuts.clear();
        self.weather = Weather { loss: 0, twice: 0, delay_max: 3, late: 0 };
    }
}
