//! Generates the columns of events from their numbers.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};

use super::config::Config;
use super::selection::Selection;
use super::{Kind, auction, bid, person};
use crate::connector::random::{Draws, below};

/// Of every [`ROUND`] events the first is a person, then come auctions, then bids.
pub(super) const ROUND: u64 = 50;
/// The number of auctions of a round.
pub(super) const AUCTIONS: u64 = 3;

const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
/// Ids ahead of the newest that are drawn as well, so that some are not known yet.
const LEAD: u64 = 10;
const ACTIVE_PEOPLE: u64 = 1000;
pub(super) const AUCTIONS_IN_FLIGHT: u64 = 100;
/// One of so many ids is hot.
const HOT_EVERY: u64 = 100;

/// A column of one type of events.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) data_type: DataType,
    pub(super) generate: fn(&Generator, &Selection) -> ArrayRef,
}

pub(super) const BIGINT: DataType = DataType::Int64;
pub(super) const VARCHAR: DataType = DataType::Utf8View;
pub(super) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// Returns the columns of a type of events.
pub(super) fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Person => person::COLUMNS,
        Kind::Auction => auction::COLUMNS,
        Kind::Bid => bid::COLUMNS,
    }
}

/// What each stream of random numbers decides.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Name,
    Email,
    CreditCard,
    City,
    State,
    PersonExtra,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Length,
    Seller,
    Category,
    AuctionExtra,
    Auction,
    Bidder,
    Price,
    Channel,
    BidExtra,
}

/// Generates values from event numbers.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    pub(super) config: Config,
}

impl Generator {
    /// Returns the random numbers that decide one thing.
    pub(super) fn draws(&self, stream: Stream) -> Draws {
        Draws::new(self.config.seed, stream as u64)
    }

    /// Makes the column of event times.
    pub(super) fn times(&self, events: &Selection) -> ArrayRef {
        events.times(|event| self.config.time_ms(event))
    }
}

/// Returns the newest person's number at an event.
#[inline]
fn last_person(event: u64) -> u64 {
    event / ROUND
}

/// Returns the newest auction's number at an event.
#[inline]
fn last_auction(event: u64) -> u64 {
    // The first event of a round is a person, at which the newest auction is the last round's.
    let in_round = (event % ROUND).min(AUCTIONS);
    (event / ROUND * AUCTIONS + in_round).saturating_sub(1)
}

/// Returns the id of the person who is event `event`.
#[inline]
pub(super) fn person_id(event: u64) -> u64 {
    FIRST_PERSON + last_person(event)
}

/// Returns the id of the auction that is event `event`.
#[inline]
pub(super) fn auction_id(event: u64) -> u64 {
    FIRST_AUCTION + last_auction(event)
}

/// Returns the person who is hot at an event, `shift` ids after the round one.
#[inline]
pub(super) fn hot_person(event: u64, shift: u64) -> u64 {
    FIRST_PERSON + last_person(event) / HOT_EVERY * HOT_EVERY + shift
}

/// Returns the auction that is hot at an event.
#[inline]
pub(super) fn hot_auction(event: u64) -> u64 {
    FIRST_AUCTION + last_auction(event) / HOT_EVERY * HOT_EVERY
}

/// Draws any active person.
#[inline]
pub(super) fn any_person(event: u64, bits: u64) -> u64 {
    let people = last_person(event) + 1;
    let active = people.min(ACTIVE_PEOPLE);
    FIRST_PERSON + people - active + below(bits, active + LEAD)
}

/// Draws any auction in flight.
#[inline]
pub(super) fn any_auction(event: u64, bits: u64) -> u64 {
    let newest = last_auction(event);
    let oldest = newest.saturating_sub(AUCTIONS_IN_FLIGHT);
    FIRST_AUCTION + oldest + below(bits, newest - oldest + 1 + LEAD)
}
