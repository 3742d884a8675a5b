//! The chain: how long a set of three disks is expected to keep at least one copy of what they hold.
//!
//! ```text
//!            3 λ             2 λ             λ
//!   3 copies ───▶ 2 copies ───▶ 1 copy ───▶ lost
//!            ◀───           ◀───
//!             1/T₂           1/T₁
//! ```
//! λ is the rate at which one copy is lost for good, T₂ and T₁ the mean times in which a lost copy is made anew while two, or one, are left. All
//! times are exponentially distributed and losses independent: a birth-death process, as in Chun et al., "Efficient Replica Maintenance for
//! Distributed Storage Systems", NSDI 2006, section 3. With h₃, h₂, h₁ the expected times to go down one step from each state,
//!
//! ```text
//!   h₃ = 1 / 3λ      h₂ = (1 + h₃/T₂) / 2λ      h₁ = (1 + h₂/T₁) / λ      expected time to loss = h₃ + h₂ + h₁
//! ```
//! A cluster loses something once any of its *sets* of three disks loses everything: sets of disks, not placement groups, because groups on the same
//! three disks are lost together (Cidon et al., "Copysets: Reducing the Frequency of Data Loss in Cloud Storage", USENIX ATC 2013). Taking the
//! sets for independent, though they share disks, errs on the safe side.
//!
//! Pure arithmetic. Years everywhere; a year has 365.25 days.

/// Seconds of a year.
pub(super) const YEAR_SECONDS: f64 = 365.25 * 86_400.0;

/// The rate, per year, of something that happens to `share` of many within a year.
pub(super) fn rate_of(share: f64) -> f64 {
    -(1.0 - share).ln()
}

/// The probability that something of this rate happens within `years`.
pub(super) fn probability(rate: f64, years: f64) -> f64 {
    -(-rate * years).exp_m1()
}

/// A kind of loss that one copy may meet: how often, and how long until it is made good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hazard {
    /// Per year and copy.
    pub(super) rate: f64,
    /// Years until the copy is made anew while two are left.
    pub(super) repair: f64,
    /// Years until it is while one is left.
    pub(super) urgent: f64,
}

/// One hazard in place of several: their rates add up, and the time to make good is the mean of theirs, each as often as it happens.
pub(super) fn together(hazards: &[Hazard]) -> Hazard {
    let rate: f64 = hazards.iter().map(|hazard| hazard.rate).sum();
    let mean = |time: fn(&Hazard) -> f64| hazards.iter().map(|hazard| hazard.rate * time(hazard)).sum::<f64>() / rate;
    Hazard { rate, repair: mean(|hazard| hazard.repair), urgent: mean(|hazard| hazard.urgent) }
}

/// Expected years until three disks have lost every copy of what they hold.
pub(super) fn years_to_loss(hazard: Hazard) -> f64 {
    let Hazard { rate, repair, urgent } = hazard;
    let from_three = 1.0 / (3.0 * rate);
    let from_two = (1.0 + from_three / repair) / (2.0 * rate);
    let from_one = (1.0 + from_two / urgent) / rate;
    from_three + from_two + from_one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected.abs() * 1e-9
    }

    #[test]
    fn a_share_of_a_year_becomes_a_rate_and_back() {
        // -ln 0.96
        assert!(close(rate_of(0.04), 0.040_821_994_520_255_166));
        assert!(close(probability(rate_of(0.04), 1.0), 0.04));
        assert!(close(probability(0.5, 2.0), 0.632_120_558_828_557_7));
        // So small that 1 - e^-x would lose all digits.
        assert!(close(probability(1e-20, 1.0), 1e-20));
    }

    #[test]
    fn without_repair_the_three_steps_add_up() {
        // 1/3 + 1/2 + 1 = 11/6 lifetimes.
        let never = Hazard { rate: 1.0, repair: f64::INFINITY, urgent: f64::INFINITY };
        assert!(close(years_to_loss(never), 11.0 / 6.0));
        assert!(close(years_to_loss(Hazard { rate: 0.5, ..never }), 11.0 / 3.0));
    }

    #[test]
    fn the_chain_agrees_with_the_figures_by_hand() {
        // λ = 0.04 a year, both repairs 6 h = 1/1461 year:
        // h3 = 1/0.12 = 8.333...; h2 = (1 + 1461 * 8.333...) / 0.08 = 12176 / 0.08 = 152200;
        // h1 = (1 + 1461 * 152200) / 0.04 = 222364201 / 0.04 = 5559105025; in all 5559257233.333...
        let six_hours = 1.0 / 1461.0;
        let hazard = Hazard { rate: 0.04, repair: six_hours, urgent: six_hours };
        assert!(close(six_hours * YEAR_SECONDS, 6.0 * 3600.0));
        assert!(close(years_to_loss(hazard), 5_559_257_233.333_333));
        // Twice as slow while two are left, still 6 h while one is: h2 = (1 + 730.5 * 8.333...) / 0.08 = 76106.25,
        // h1 = (1 + 1461 * 76106.25) / 0.04 = 2779780806.25, in all 2779856920.8333...
        let slower = Hazard { repair: 2.0 * six_hours, ..hazard };
        assert!(close(years_to_loss(slower), 2_779_856_920.833_333));
    }

    #[test]
    fn hazards_add_up_and_the_times_are_weighed() {
        let disk = Hazard { rate: 0.03, repair: 2.0, urgent: 1.0 };
        let node = Hazard { rate: 0.01, repair: 6.0, urgent: 5.0 };
        let both = together(&[disk, node]);
        assert!(close(both.rate, 0.04) && close(both.repair, 3.0) && close(both.urgent, 2.0));
        assert_eq!(together(&[disk]), disk);
    }
}
