//! A live connection against arbitrary segments, times and calls.
//!
//! The bytes become a [`script::Setup`] and steps; [`driver::Driver`] carries
//! them out and checks after each what must hold whatever a peer or a program
//! does. In the end the connection meets either silence or an honest peer, and
//! must come to its end with both.

mod driver;
mod observer;
mod script;

use arbitrary::{Arbitrary, Unstructured};

use driver::Driver;
use script::{Ending, Setup, Step};

/// Steps that are carried out at most, so that no input takes long.
const MOST_STEPS: usize = 300;

/// Runs the script that `bytes` spell; ends early where they end.
pub fn run(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok(setup) = Setup::arbitrary(&mut source) else { return };
    let ending = setup.ending;
    let mut driver = Driver::new(setup);
    for _ in 0..MOST_STEPS {
        if source.is_empty() || driver.is_exhausted() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut source) else { break };
        driver.apply(step);
        driver.check();
    }
    match ending {
        Ending::Silence => driver.end_in_silence(),
        Ending::Honesty => driver.end_with_an_honest_peer(),
    }
}
