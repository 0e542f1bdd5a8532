//! The classic servers of a socket course, each a small program on the one loop, correct where the
//! classic versions are not.

pub mod ask;
pub mod echo;
pub mod greet;
pub mod hello;
pub mod receive;
