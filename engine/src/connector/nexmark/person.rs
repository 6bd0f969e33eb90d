//! The columns of a person.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};

use super::generator::{BIGINT, Column, Generator, Stream, TIMESTAMP, VARCHAR, person_id};
use super::selection::Selection;
use super::texts::{TEXTS, extra_lengths, letter, letters};
use crate::connector::random::below;

pub(super) const COLUMNS: &[Column] = &[
    Column { name: "id", data_type: BIGINT, generate: |_, events| events.integers(person_id) },
    Column { name: "name", data_type: VARCHAR, generate: name },
    Column { name: "emailAddress", data_type: VARCHAR, generate: email_address },
    Column { name: "creditCard", data_type: VARCHAR, generate: credit_card },
    Column { name: "city", data_type: VARCHAR, generate: city },
    Column { name: "state", data_type: VARCHAR, generate: state },
    Column { name: "dateTime", data_type: TIMESTAMP, generate: Generator::times },
    Column { name: "extra", data_type: VARCHAR, generate: extra },
];

const EMAIL_BYTES: usize = 17;
const CREDIT_CARD_BYTES: usize = 19;

fn name_index(generator: &Generator) -> impl Fn(u64) -> u64 {
    let (draws, count) = (generator.draws(Stream::Name), TEXTS.names.len());
    move |event| below(draws.at(event), count)
}

fn city_index(generator: &Generator) -> impl Fn(u64) -> u64 {
    let (draws, count) = (generator.draws(Stream::City), TEXTS.cities.len());
    move |event| below(draws.at(event), count)
}

fn name(generator: &Generator, people: &Selection) -> ArrayRef {
    people.texts(&TEXTS.names, name_index(generator))
}

fn city(generator: &Generator, people: &Selection) -> ArrayRef {
    people.texts(&TEXTS.cities, city_index(generator))
}

fn state(generator: &Generator, people: &Selection) -> ArrayRef {
    let (draws, count) = (generator.draws(Stream::State), TEXTS.states.len());
    people.texts(&TEXTS.states, |event| below(draws.at(event), count))
}

fn email_address(generator: &Generator, people: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::Email);
    built(people, EMAIL_BYTES, |event, append| {
        let mut text = *b"abcdefg@abcde.com";
        for (index, byte) in text.iter_mut().enumerate() {
            if byte.is_ascii_lowercase() && index < 13 {
                *byte = letter(draws.at(event * 16 + index as u64));
            }
        }
        append(std::str::from_utf8(&text).expect("letters are ASCII"));
    })
}

fn credit_card(generator: &Generator, people: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::CreditCard);
    built(people, CREDIT_CARD_BYTES, |event, append| {
        let mut text = *b"0000 0000 0000 0000";
        let mut digits = draws.at(event);
        for byte in text.iter_mut().filter(|byte| **byte == b'0') {
            *byte += (digits % 10) as u8;
            digits /= 10;
        }
        append(std::str::from_utf8(&text).expect("digits are ASCII"));
    })
}

fn extra(generator: &Generator, people: &Selection) -> ArrayRef {
    let draws = generator.draws(Stream::PersonExtra);
    let (name, city) = (name_index(generator), city_index(generator));
    built(people, 160, |event, append| {
        let name = TEXTS.names.get(name(event)).len() as u64;
        let city = TEXTS.cities.get(city(event)).len() as u64;
        let fixed = 8 + EMAIL_BYTES as u64 + CREDIT_CARD_BYTES as u64 + 2;
        let (shortest, lengths) = extra_lengths(fixed + name + city, 200);
        let length = shortest + below(draws.at(2 * event), lengths);
        append(letters(draws.at(2 * event + 1), length));
    })
}

/// Builds texts of about `bytes` bytes that are in no pool. People are one event in fifty, so
/// copying their texts costs little.
fn built(people: &Selection, bytes: usize, text: impl Fn(u64, &mut dyn FnMut(&str))) -> ArrayRef {
    let block = (people.numbers.len() * bytes).max(1) as u32;
    let mut builder = StringViewBuilder::with_capacity(people.len()).with_fixed_block_size(block);
    let mut numbers = people.numbers.iter();
    for row in 0..people.len() {
        match numbers.as_slice().first() {
            Some(event) if people.is_of_type(row) => {
                text(*event, &mut |text| builder.append_value(text));
                numbers.next();
            }
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}
