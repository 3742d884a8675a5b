//! The network: late, lossy, doubling, reordering, and cut one way or both. Each direction has chance of its own.

use crate::event::{Agenda, Event, Millis};
use crate::message::{Message, Party};
use crate::random::Random;
use crate::script::Knobs;
use std::collections::BTreeMap;

/// How bad it is.
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
    ordinary: Weather,
    weather: Weather,
    /// Direction -> how many cuts lie on it.
    cuts: BTreeMap<(Party, Party), u32>,
    links: BTreeMap<(Party, Party), Random>,
    random: Random,
}

impl Network {
    /// Whole, in the weather of the run.
    #[must_use]
    pub fn new(knobs: &Knobs, random: Random) -> Self {
        let Knobs { loss, twice, delay_max, late, .. } = *knobs;
        let ordinary = Weather { loss, twice, delay_max, late };
        Network { ordinary, weather: ordinary, cuts: BTreeMap::new(), links: BTreeMap::new(), random }
    }

    /// Sends, or loses.
    pub fn send(&mut self, now: Millis, from: Party, to: Party, message: Message, agenda: &mut Agenda) {
        if self.is_cut(from, to) {
            return;
        }
        let Weather { loss, twice, delay_max, late } = self.weather;
        let fresh = || self.random.fork(from.number() << 32 | to.number());
        let link = self.links.entry((from, to)).or_insert_with(fresh);
        if link.chance(loss) {
            return;
        }
        let copies = 1 + u64::from(link.chance(twice));
        for _ in 0..copies {
            let tail = if link.chance(late) { link.below(2000) } else { 0 };
            let delay = link.between(1, delay_max + 1) + tail;
            agenda.at(now + delay, Event::Deliver { from, to, message: message.clone() });
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

    /// Worse weather.
    pub fn storm(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// The weather of the run again.
    pub fn ordinary(&mut self) {
        self.weather = self.ordinary;
    }

    /// Fair weather and no cuts from now on.
    pub fn calm(&mut self) {
        self.cuts.clear();
        self.ordinary = Weather { loss: 0, twice: 0, delay_max: 3, late: 0 };
        self.weather = self.ordinary;
    }
}
