//! Selective acknowledgements as the receiver of data: RFC 2018 section 4 and
//! the examples of RFC 2883 section 4, in blocks of 500 bytes from 1 on.

use super::script::{bare, established_with};
use crate::Config;

fn sack(text: &str) {
    established_with(Config { sack: true, ..bare() }, "sackok", text);
}

#[test]
fn each_ack_below_the_highest_data_reports_it() {
    // RFC 2018 4: all ACKs, delayed ones and those on data too.
    sack(
        "10  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001
         20  write 10
         .   > PA 1+10 ack 1 sack 501-1001
         30  < A 2001+0 ack 11
         40  < A 1+100 ack 11
         .   > A 11+0 ack 101 sack 501-1001",
    );
}

#[test]
fn the_first_block_holds_the_segment_that_caused_the_ack() {
    // RFC 2018 4, although it is not the newest run.
    sack(
        "10  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001
         .   < A 2001+500 ack 1
         .   > A 1+0 ack 1 sack 2001-2501,501-1001
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 1 sack 501-1501,2001-2501",
    );
}

#[test]
fn what_was_reported_is_kept() {
    // RFC 2018 8 permits reneging; this receiver does not, when memory runs short.
    sack(
        "0   rcvbuf 2304
         10  < A 1001+500 ack 1
         .   > A 1+0 ack 1 sack 1001-1501
         20  < A 1+1000 ack 1
         .   > A 1+0 ack 1501
         .   read 1500",
    );
}

#[test]
fn nothing_is_reported_once_all_is_there() {
    sack(
        "10  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001
         20  < A 1+500 ack 1
         .   > A 1+0 ack 1001 no-options
         30  write 10
         .   > PA 1+10 ack 1001 no-options",
    );
}

#[test]
fn a_duplicate_segment_is_reported() {
    // RFC 2883 4.1.1.
    sack(
        "10  < A 1+500 ack 1
         .   > A 1+0 ack 501
         .   < A 501+500 ack 1
         .   > A 1+0 ack 1001
         20  < A 1+500 ack 1
         .   > A 1+0 ack 1001 sack 1-501",
    );
}

#[test]
fn a_duplicate_is_reported_before_what_waits() {
    // RFC 2883 4.1.2.
    sack(
        "10  < A 1+500 ack 1
         .   > A 1+0 ack 501
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 501 sack 1001-1501
         20  < A 1+500 ack 1
         .   > A 1+0 ack 501 sack 1-501,1001-1501",
    );
}

#[test]
fn a_duplicate_of_what_waits_is_reported_with_its_run() {
    // RFC 2883 4.1.3.
    sack(
        "10  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 1 sack 501-1501
         .   < A 2001+500 ack 1
         .   > A 1+0 ack 1 sack 2001-2501,501-1501
         20  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001,501-1501,2001-2501",
    );
}

#[test]
fn the_run_around_a_duplicate_goes_before_newer_ones() {
    // RFC 2883 4: the block behind the duplicate is the one that holds it.
    sack(
        "10  < A 501+500 ack 1
         .   > A 1+0 ack 1 sack 501-1001
         .   < A 2001+500 ack 1
         .   > A 1+0 ack 1 sack 2001-2501,501-1001
         20  < A 601+100 ack 1
         .   > A 1+0 ack 1 sack 601-701,501-1001,2001-2501",
    );
}

#[test]
fn a_duplicate_part_of_a_segment_is_reported() {
    // RFC 2883 4.2.1.
    sack(
        "10  < A 1+500 ack 1
         .   > A 1+0 ack 501
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 501 sack 1001-1501
         20  < A 501+1000 ack 1
         .   > A 1+0 ack 1501 sack 1001-1501
         .   read 1500",
    );
}

#[test]
fn of_two_duplicate_parts_the_first_is_reported() {
    // RFC 2883 4.2.2: both lie below the new acknowledgement.
    sack(
        "10  < A 1+500 ack 1
         .   > A 1+0 ack 501
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 501 sack 1001-1501
         .   < A 2001+500 ack 1
         .   > A 1+0 ack 501 sack 2001-2501,1001-1501
         20  < A 501+2000 ack 1
         .   > A 1+0 ack 2501 sack 1001-1501",
    );
}

#[test]
fn above_a_gap_the_first_of_two_duplicate_parts_is_reported_too() {
    // RFC 2883 4.2.3.
    sack(
        "10  < A 1001+500 ack 1
         .   > A 1+0 ack 1 sack 1001-1501
         .   < A 2001+500 ack 1
         .   > A 1+0 ack 1 sack 2001-2501,1001-1501
         20  < A 1001+1500 ack 1
         .   > A 1+0 ack 1 sack 1001-1501,1001-2501",
    );
}

#[test]
fn a_part_below_the_acknowledgement_goes_first() {
    sack(
        "10  < A 1+500 ack 1
         .   > A 1+0 ack 501
         .   < A 1001+500 ack 1
         .   > A 1+0 ack 501 sack 1001-1501
         20  < A 251+1250 ack 1
         .   > A 1+0 ack 1501 sack 251-501",
    );
}

#[test]
fn a_peer_without_sack_hears_of_no_duplicate() {
    established_with(
        Config { sack: true, ..bare() },
        "",
        "10 < A 1+500 ack 1\n. > A 1+0 ack 501\n20 < A 1+500 ack 1\n. > A 1+0 ack 501 no-options",
    );
}

#[test]
fn a_fin_that_comes_again_is_reported_as_a_duplicate_of_what_it_carries() {
    sack(
        "10  < FPA 1+100 ack 1
         .   > A 1+0 ack 102
         20  < FPA 1+100 ack 1
         .   > A 1+0 ack 102 sack 1-102",
    );
}
