//! Scenarios: the same steps carried out by pspawn and by Erlang/OTP, and their outcomes compared.

pub mod format;
pub mod generate;
pub mod otp;
pub mod shrink;
