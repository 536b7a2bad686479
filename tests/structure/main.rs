//! The plan of the house, held against the house.

mod documents;
mod layers;
