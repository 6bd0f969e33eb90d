//! The columns of a bid.

use arrow::array::ArrayRef;

use super::generator::{
    BIGINT, Column, Generator, Stream, TIMESTAMP, VARCHAR, any_auction, any_person, hot_auction,
    hot_person,
};
use super::price::Prices;
use super::selection::Selection;
use super::texts::{HOT, TEXTS};
use crate::connector::random::below;

pub(super) const COLUMNS: &[Column] = &[
    Column { name: "auction", data_type: BIGINT, generate: auction },
    Column { name: "bidder", data_type: BIGINT, generate: bidder },
    Column { name: "price", data_type: BIGINT, generate: price },
    Column { name: "channel", data_type: VARCHAR, generate: channel },
    Column { name: "url", data_type: VARCHAR, generate: url },
    Column { name: "dateTime", data_type: TIMESTAMP, generate: Generator::times },
    Column { name: "extra", data_type: VARCHAR, generate: extra },
];

fn auction(generator: &Generator, bids: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::Auction);
    bids.integers(|event| match draws.at(event) {
        random if random.is_multiple_of(2) => any_auction(event, random),
        _ => hot_auction(event),
    })
}

fn bidder(generator: &Generator, bids: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::Bidder);
    bids.integers(|event| match draws.at(event) {
        random if random.is_multiple_of(4) => any_person(event, random),
        // The id after the hot seller's, so that the two do not collide.
        _ => hot_person(event, 1),
    })
}

fn price(generator: &Generator, bids: &Selection) -> ArrayRef {
    let (draws, prices) = (generator.draws(Stream::Price), Prices::new());
    bids.integers(|event| prices.of(draws.at(event)))
}

/// Returns the index of a bid's channel, which is its url's as well.
fn channel_index(generator: &Generator) -> impl Fn(u64) -> u64 {
    let (draws, others) = (generator.draws(Stream::Channel), TEXTS.channels.len() - HOT);
    move |event| match draws.at(event) {
        random if random.is_multiple_of(2) => HOT + below(random, others),
        random => below(random, HOT),
    }
}

fn channel(generator: &Generator, bids: &Selection) -> ArrayRef {
    bids.texts(&TEXTS.channels, channel_index(generator))
}

fn url(generator: &Generator, bids: &Selection) -> ArrayRef {
    bids.texts(&TEXTS.urls, channel_index(generator))
}

fn extra(generator: &Generator, bids: &Selection) -> ArrayRef {
    let (draws, count) = (generator.draws(Stream::BidExtra), TEXTS.bid_extras.len());
    bids.texts(&TEXTS.bid_extras, |event| below(draws.at(event), count))
}
