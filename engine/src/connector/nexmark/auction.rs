//! The columns of an auction.

use arrow::array::ArrayRef;

use super::generator::{
    AUCTIONS, AUCTIONS_IN_FLIGHT, BIGINT, Column, Generator, ROUND, Stream, TIMESTAMP, VARCHAR,
    any_person, auction_id, hot_person,
};
use super::price::Prices;
use super::selection::Selection;
use super::texts::{Pool, TEXTS};
use crate::connector::random::below;

pub(super) const COLUMNS: &[Column] = &[
    Column { name: "id", data_type: BIGINT, generate: |_, events| events.integers(auction_id) },
    Column { name: "itemName", data_type: VARCHAR, generate: item_name },
    Column { name: "description", data_type: VARCHAR, generate: description },
    Column { name: "initialBid", data_type: BIGINT, generate: initial_bid },
    Column { name: "reserve", data_type: BIGINT, generate: reserve },
    Column { name: "dateTime", data_type: TIMESTAMP, generate: Generator::times },
    Column { name: "expires", data_type: TIMESTAMP, generate: expires },
    Column { name: "seller", data_type: BIGINT, generate: seller },
    Column { name: "category", data_type: BIGINT, generate: category },
    Column { name: "extra", data_type: VARCHAR, generate: extra },
];

fn pooled(generator: &Generator, auctions: &Selection, pool: &Pool, stream: Stream) -> ArrayRef {
    let (draws, count) = (generator.draws(stream), pool.len());
    auctions.texts(pool, |event| below(draws.at(event), count))
}

fn item_name(generator: &Generator, auctions: &Selection) -> ArrayRef {
    pooled(generator, auctions, &TEXTS.item_names, Stream::ItemName)
}

fn description(generator: &Generator, auctions: &Selection) -> ArrayRef {
    pooled(generator, auctions, &TEXTS.descriptions, Stream::Description)
}

fn extra(generator: &Generator, auctions: &Selection) -> ArrayRef {
    pooled(generator, auctions, &TEXTS.auction_extras, Stream::AuctionExtra)
}

fn initial_bid(generator: &Generator, auctions: &Selection) -> ArrayRef {
    let (draws, prices) = (generator.draws(Stream::InitialBid), Prices::new());
    auctions.integers(|event| prices.of(draws.at(event)))
}

fn reserve(generator: &Generator, auctions: &Selection) -> ArrayRef {
    let initial = generator.draws(Stream::InitialBid);
    let (more, prices) = (generator.draws(Stream::Reserve), Prices::new());
    auctions.integers(|event| prices.of(initial.at(event)) + prices.of(more.at(event)))
}

fn expires(generator: &Generator, auctions: &Selection) -> ArrayRef {
    // As long as it takes on average until so many younger auctions are open.
    let events_in_flight = AUCTIONS_IN_FLIGHT * ROUND / AUCTIONS;
    let (draws, config) = (generator.draws(Stream::Length), &generator.config);
    auctions.times(|event| {
        let time = config.time_ms(event);
        let horizon = (config.time_ms(event + events_in_flight) - time) as u64;
        time + 1 + below(draws.at(event), (2 * horizon).max(1)) as i64
    })
}

fn seller(generator: &Generator, auctions: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::Seller);
    auctions.integers(|event| match draws.at(event) {
        random if random.is_multiple_of(4) => any_person(event, random),
        _ => hot_person(event, 0),
    })
}

fn category(generator: &Generator, auctions: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::Category);
    auctions.integers(|event| 10 + below(draws.at(event), 5))
}
