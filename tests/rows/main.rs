//! The rows of the requirements, each shown through the built binary (or in process, where a clock has to be moved). A
//! test's name begins with the ids of its rows. One program, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

#[path = "../support/mod.rs"]
mod support;

mod a1;
mod a5_e7;
mod a7;
mod a7_writes;
mod b1_e8;
mod b2_b9;
mod c;
mod c10_timed;
mod c7_c9;
mod d3;
mod d6_d8;
mod e;
mod e7_whole;
mod f;
mod f2_answers;
mod f2_parts;
mod f2_ranges;
mod heads;
mod methods;
mod partition;
mod posted;
mod seams;
mod search;
mod vary;
