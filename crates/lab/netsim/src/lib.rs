//! A simulated internet in virtual time: hosts, links, NATs and laws, for any sans-IO machine.
