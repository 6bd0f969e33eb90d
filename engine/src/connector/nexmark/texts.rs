//! The texts of events. All come out of pools that are made once: a row's text is a view into a
//! pool's one buffer, so that generating a text column copies sixteen bytes a row.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, StringViewArray, StringViewBuilder, UInt32Array, builder::make_view,
};
use arrow::buffer::Buffer;
use arrow::compute::take;

use crate::connector::random::{Draws, below};

/// Random letters that views point into: small enough to stay in a core's cache and, in a batch
/// that goes over the network, shorter than the texts it stands for.
const LETTERS: usize = 1 << 16;
/// The number of different texts of a pool of letters.
const POOL: usize = 1 << 14;
/// The number of channels beside the hot ones.
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// Texts to draw from.
#[derive(Debug)]
pub(super) struct Pool(StringViewArray);

impl Pool {
    fn of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        // One block for all, so that a batch refers to a single buffer.
        let mut builder = StringViewBuilder::new().with_fixed_block_size(1 << 20);
        texts.into_iter().for_each(|text| builder.append_value(text));
        Self(builder.finish())
    }

    /// Makes a pool of texts whose lengths are uniform in `shortest .. shortest + lengths`.
    fn letters(stream: u64, shortest: u64, lengths: u64) -> Self {
        let letters = &*LETTERS_BUFFER;
        let draws = Draws::new(0, stream);
        let views = (0..POOL as u64).map(|index| {
            let length = shortest + below(draws.at(2 * index), lengths);
            let start = below(draws.at(2 * index + 1), LETTERS as u64 - length) as usize;
            make_view(&letters[start..start + length as usize], 0, start as u32)
        });
        let texts = StringViewArray::try_new(views.collect(), vec![letters.clone()], None);
        Self(texts.expect("views lie within the letters"))
    }

    /// Returns the number of texts.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns the text at an index.
    pub(super) fn get(&self, index: u64) -> &str {
        self.0.value(index as usize)
    }

    /// Gathers texts; a null index gives null.
    pub(super) fn gather(&self, indices: &UInt32Array) -> ArrayRef {
        take(&self.0, indices, None).expect("indices lie within the pool")
    }
}

/// The pools.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) names: Pool,
    pub(super) cities: Pool,
    pub(super) states: Pool,
    pub(super) item_names: Pool,
    pub(super) descriptions: Pool,
    pub(super) auction_extras: Pool,
    pub(super) bid_extras: Pool,
    /// The hot channels, then the others.
    pub(super) channels: Pool,
    /// The url of each channel.
    pub(super) urls: Pool,
}

/// The number of hot channels, the first ones of [`Texts::channels`].
pub(super) const HOT: u64 = HOT_CHANNELS.len() as u64;

static LETTERS_BUFFER: LazyLock<Buffer> = LazyLock::new(|| {
    let draws = Draws::new(0, 0);
    let letters = (0..LETTERS as u64).map(|index| letter(draws.at(index)));
    Buffer::from(letters.collect::<Vec<u8>>())
});

/// The same texts for every seed: which event gets which is what the seed decides.
pub(super) static TEXTS: LazyLock<Arc<Texts>> = LazyLock::new(|| {
    let names = FIRST_NAMES
        .iter()
        .flat_map(|first| LAST_NAMES.iter().map(move |last| format!("{first} {last}")));
    let channels = HOT_CHANNELS
        .into_iter()
        .map(str::to_owned)
        .chain((0..CHANNELS).map(|channel| format!("channel-{channel}")));
    Arc::new(Texts {
        names: Pool::of(names),
        cities: Pool::of(CITIES),
        states: Pool::of(STATES),
        item_names: Pool::letters(1, 20, 1),
        descriptions: Pool::letters(2, 100, 1),
        auction_extras: extras(3, 168, 500),
        bid_extras: extras(4, 32, 100),
        channels: Pool::of(channels),
        urls: Pool::of((0..HOT).map(base_url).chain((0..CHANNELS).map(channel_url))),
    })
});

/// Returns the shortest length and the number of lengths of the text that fills an event of
/// `size` bytes up to `average` bytes.
pub(super) fn extra_lengths(size: u64, average: u64) -> (u64, u64) {
    let wanted = average.saturating_sub(size);
    let delta = (wanted + 2) / 5;
    (wanted - delta, (2 * delta).max(1))
}

fn extras(stream: u64, size: u64, average: u64) -> Pool {
    let (shortest, lengths) = extra_lengths(size, average);
    Pool::letters(stream, shortest, lengths)
}

/// Returns `length` of the random letters.
pub(super) fn letters(bits: u64, length: u64) -> &'static str {
    let start = below(bits, LETTERS as u64 - length) as usize;
    let letters = &LETTERS_BUFFER[start..start + length as usize];
    std::str::from_utf8(letters).expect("letters are ASCII")
}

/// Makes a letter of random bits.
pub(super) fn letter(bits: u64) -> u8 {
    b'a' + below(bits, 26) as u8
}

fn base_url(number: u64) -> String {
    let draws = Draws::new(number, 5);
    let word = |word: u64| {
        (0..5).map(move |index| char::from(letter(draws.at(5 * word + index)))).collect::<String>()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", word(0), word(1), word(2))
}

fn channel_url(channel: u64) -> String {
    let url = base_url(HOT + channel);
    if below(Draws::new(channel, 6).at(0), 10) == 0 {
        return url;
    }
    let reversed = i64::from((channel as i32).reverse_bits()).abs();
    format!("{url}&channel_id={reversed}")
}
