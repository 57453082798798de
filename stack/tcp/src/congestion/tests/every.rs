//! What holds for all controllers.

use proptest::prelude::*;

use super::MSS;
use crate::CongestionAlgorithm;
use crate::congestion::{AckSample, CongestionControl, Controller, Echo, LARGEST, Signal, UNLIMITED, Window};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

#[derive(Debug, Clone)]
enum Step {
    Ack { acked: u32, micros: u32, rtt: u32 },
    Lazy(u32),
    Echo { acked: u32, marked: bool },
    Congestion(Signal, u32),
    Restart,
    Undo,
}

fn step() -> impl Strategy<Value = Step> {
    let signal = prop_oneof![Just(Signal::Loss), Just(Signal::Timeout), Just(Signal::Mark)];
    prop_oneof![
        8 => (any::<u32>(), any::<u32>(), any::<u32>())
            .prop_map(|(acked, micros, rtt)| Step::Ack { acked: acked >> 2, micros, rtt }),
        8 => (1u32..100_000, 1u32..1_000_000, 1u32..1_000_000)
            .prop_map(|(acked, micros, rtt)| Step::Ack { acked, micros, rtt }),
        1 => any::<u32>().prop_map(Step::Lazy),
        2 => (any::<u32>(), any::<bool>()).prop_map(|(acked, marked)| Step::Echo { acked: acked >> 2, marked }),
        2 => (signal, any::<u32>()).prop_map(|(signal, flight)| Step::Congestion(signal, flight)),
        1 => Just(Step::Restart),
        1 => Just(Step::Undo),
    ]
}

proptest! {
    #[test]
    fn the_window_keeps_its_bounds(
        algorithm in prop::sample::select(CongestionAlgorithm::ALL.to_vec()),
        mss in 1u32..65_535, initial in 1u32..1000, paced: bool,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut controller = Controller::new(algorithm);
        let mut window = Window { cwnd: initial * mss, ssthresh: UNLIMITED };
        let mut before = (controller.clone(), window);
        let (mut now, mut una) = (Instant::default(), SeqNum(u32::MAX / 2));
        for step in steps {
            let old = window;
            match step {
                Step::Ack { acked, micros, rtt } => {
                    now += Duration::from_micros(u64::from(micros));
                    una += acked;
                    let rtt = Duration::from_micros(u64::from(rtt));
                    let nxt = una + window.cwnd;
                    let sample = AckSample { now, acked, mss, srtt: rtt, rtt, una, nxt, paced };
                    controller.on_ack(&mut window, &sample);
                    prop_assert!(window.cwnd >= old.cwnd.min(LARGEST), "an acknowledgement shrinks the window");
                    let most = u64::from(old.cwnd) + 2 * u64::from(acked) + u64::from(mss);
                    prop_assert!(u64::from(window.cwnd) <= most, "{old:?} {window:?}");
                }
                Step::Lazy(micros) => {
                    now += Duration::from_micros(u64::from(micros));
                    controller.on_app_limited(now);
                }
                Step::Echo { acked, marked } => {
                    una += acked;
                    controller.on_echo(&Echo { acked, marked, una, nxt: una + window.cwnd });
                }
                Step::Congestion(signal, flight) => {
                    before = (controller.clone(), window);
                    let ssthresh = controller.on_congestion(&window, signal, flight.min(window.cwnd), mss);
                    prop_assert!(ssthresh >= 2 * mss);
                    prop_assert!(ssthresh <= window.cwnd.max(2 * mss));
                    window = Window { cwnd: if signal == Signal::Timeout { mss } else { ssthresh }, ssthresh };
                }
                Step::Restart => controller.on_restart(),
                Step::Undo => {
                    window = before.1;
                    controller.on_undo(&before.0);
                }
            }
            prop_assert!(window.cwnd <= LARGEST.max(old.cwnd));
        }
    }

    #[test]
    fn an_undone_reduction_leaves_no_trace_in_the_growth(
        algorithm in prop::sample::select(CongestionAlgorithm::ALL.to_vec()),
        acks in proptest::collection::vec((1u32..10 * MSS, 1u64..200_000), 2..100), at: prop::sample::Index,
    ) {
        let grow = |undone: Option<usize>| {
            let mut controller = Controller::new(algorithm);
            let mut window = Window { cwnd: 20 * MSS, ssthresh: 30 * MSS };
            let (mut now, mut una) = (Instant::default(), SeqNum(0));
            for (index, &(acked, micros)) in acks.iter().enumerate() {
                if undone == Some(index) {
                    let before = controller.clone();
                    controller.on_congestion(&window, Signal::Timeout, window.cwnd, MSS);
                    controller.on_undo(&before);
                }
                now += Duration::from_micros(micros);
                una += acked;
                let rtt = Duration::from_millis(50);
                let nxt = una + window.cwnd;
                let sample = AckSample { now, acked, mss: MSS, srtt: rtt, rtt, una, nxt, paced: false };
                controller.on_ack(&mut window, &sample);
            }
            window
        };
        prop_assert_eq!(grow(Some(at.index(acks.len()))), grow(None));
    }
}

#[test]
fn each_has_linuxs_name() {
    for (algorithm, name) in CongestionAlgorithm::ALL.into_iter().zip(["cubic", "reno", "dctcp"]) {
        assert_eq!(algorithm.name(), name);
        assert_eq!(CongestionAlgorithm::from_name(name), Some(algorithm));
        assert_eq!(Controller::new(algorithm).algorithm(), algorithm);
    }
    assert_eq!(CongestionAlgorithm::from_name("bbr"), None);
}

#[test]
fn an_undo_across_a_change_of_the_algorithm_does_nothing() {
    let cubic = Controller::new(CongestionAlgorithm::Cubic);
    let mut reno = Controller::new(CongestionAlgorithm::NewReno);
    reno.on_undo(&cubic);
    assert_eq!(reno.algorithm(), CongestionAlgorithm::NewReno);
}
