//! Compressed GPS times that would overrun the stack.
//!
//! laz decodes a GPS time by a call of itself for each time that the stream switches between its four sequences: at most
//! once in a file that is whole. A stream made for it says tens of thousands of switches with every byte. Where one stream
//! holds all fields (formats 1 to 5), its bytes are what laz asks for, and [`Shallow`] sees how deep it is. Where each field
//! has a layer (6 and up), laz reads them ahead, so that [`check`] follows the two layers that matter: which points have a
//! GPS time of their own, and the times.

use std::cell::Cell;
use std::hint::black_box;
use std::io::{Cursor, Error, ErrorKind, Read, Result, Seek, SeekFrom};

use laz::decoders::ArithmeticDecoder;
use laz::decompressors::{IntegerDecompressor, IntegerDecompressorBuilder};
use laz::models::{ArithmeticModel, ArithmeticModelBuilder};

/// Switches one after the other that are taken for a mistake: there are four sequences to switch between.
const MOST_SWITCHES: usize = 16;

/// Stack that a decoder may have taken when it asks for its next bytes.
///
/// Until it asks again it goes no deeper than one byte can say. The likeliest of six symbols has a probability of at most
/// 1 - 5/2^15, so that 2^15/5 · ln 2^8 = 36,341 of them are a byte: 3 MB of frames of 80 bytes, and 37 MB of a kilobyte.
const MOST_STACK: usize = 1 << 20;
/// Stack of a thread that decodes; memory is taken as it is used.
pub(super) const STACK_BYTES: usize = 64 << 20;

fn endless() -> Error {
    Error::new(ErrorKind::InvalidData, "GPS times that switch between sequences without end")
}

thread_local! {
    /// Where the stack stood when decoding began.
    static TOP: Cell<usize> = const { Cell::new(0) };
}

/// About where the stack stands.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    black_box(std::ptr::from_ref(&local)).addr()
}

/// Takes this call for the one that decoding begins in.
pub(super) fn from_here<T>(work: impl FnOnce() -> T) -> T {
    TOP.set(here());
    work()
}

/// A source of compressed records that ends where its reader is too deep in calls of itself.
pub(super) struct Shallow<R>(pub(super) R);

impl<R> Shallow<R> {
    fn check() -> Result<()> {
        if TOP.get().abs_diff(here()) > MOST_STACK { Err(endless()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Shallow<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        Self::check()?;
        self.0.read(out)
    }

    fn read_exact(&mut self, out: &mut [u8]) -> Result<()> {
        Self::check()?;
        self.0.read_exact(out)
    }
}

impl<R: Seek> Seek for Shallow<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.0.seek(to)
    }
}

/// The layers of a chunk that say where its GPS times are, and what they are.
pub(super) struct Layers<'a> {
    /// The chunk's first record, as it stands in the file.
    pub(super) first: &'a [u8],
    pub(super) points: u64,
    /// Scanner channels, returns and XY; GPS times.
    pub(super) returns: &'a [u8],
    pub(super) times: &'a [u8],
}

/// Whether laz can decode these GPS times: an error where they switch without end. Layers that are damaged otherwise end the
/// check, as they end laz at the same place.
pub(super) fn check(layers: &Layers<'_>) -> Result<()> {
    if layers.times.is_empty() {
        return Ok(());
    }
    match follow(layers, |_, _| ()) {
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(error),
        _ => Ok(()),
    }
}

/// Follows the layers and tells each point's channel and GPS time, those of the first excepted.
fn follow(layers: &Layers<'_>, mut tell: impl FnMut(usize, i64)) -> Result<()> {
    let (mut returns, mut times) = (decoder(layers.returns)?, decoder(layers.times)?);
    let mut channels = [const { None }; 4];
    let mut current = usize::from(layers.first[15] >> 4 & 3);
    let time = i64::from_le_bytes(std::array::from_fn(|i| layers.first[22 + i]));
    channels[current] = Some(Channel::new(layers.first[14] & 15, layers.first[14] >> 4, time));
    for _ in 1..layers.points {
        let Some(channel) = &mut channels[current] else { return Ok(()) };
        let changed = returns.decode_symbol(&mut channel.changed[channel.context()])?;
        if changed & 1 << 6 != 0 {
            let other = (current + returns.decode_symbol(&mut channel.other)? as usize + 1) % 4;
            // A channel begins as the one before it is.
            let (return_number, count, time) = (channel.return_number, channel.returns, channel.time);
            channels[other].get_or_insert_with(|| Channel::new(return_number, count, time));
            current = other;
        }
        let Some(channel) = &mut channels[current] else { return Ok(()) };
        channel.follow_return(changed, &mut returns)?;
        if channel.time_changed {
            channel.sequences.follow(&mut times)?;
            channel.time = channel.sequences.times[channel.sequences.last];
        }
        tell(current, channel.time);
    }
    Ok(())
}

type Layer<'a> = ArithmeticDecoder<Cursor<&'a [u8]>>;

fn decoder(bytes: &[u8]) -> Result<Layer<'_>> {
    let mut decoder = ArithmeticDecoder::new(Cursor::new(bytes));
    if !bytes.is_empty() {
        decoder.read_init_bytes()?;
    }
    Ok(decoder)
}

fn model(symbols: u32) -> ArithmeticModel {
    ArithmeticModelBuilder::new(symbols).build()
}

fn integers(contexts: u32) -> IntegerDecompressor {
    IntegerDecompressorBuilder::new().bits(32).contexts(contexts).build_initialized()
}

/// The format's classes of returns, by how many a pulse has and which it is.
#[rustfmt::skip]
const OF_RETURNS: [[u8; 16]; 16] = [
    *b"0123453445555555",
    *b"1013333333333333",
    *b"2124444444433333",
    *b"3345444444444444",
    *b"4344544444444444",
    *b"5344454444444444",
    *b"3344445444444444",
    *b"4344444544444444",
    *b"4344444454444444",
    *b"5344444445444444",
    *b"5344444444544444",
    *b"5334444444455444",
    *b"5334444444455544",
    *b"5334444444445554",
    *b"5334444444444555",
    *b"5334444444444455",
];

/// The format's running median: of five values, to which each new one is added in place of the largest or the smallest.
#[derive(Clone, Copy, Default)]
struct Median {
    sorted: [i32; 5],
    drops_smallest: bool,
}

impl Median {
    fn get(&self) -> i32 {
        self.sorted[2]
    }

    fn add(&mut self, value: i32) {
        let median = self.get();
        if self.drops_smallest {
            self.sorted[0] = value;
            self.drops_smallest = value > median;
        } else {
            self.sorted[4] = value;
            self.drops_smallest = value >= median;
        }
        self.sorted.sort_unstable();
    }
}

/// What laz knows of a scanner channel, as far as it decides which symbols come.
struct Channel {
    return_number: u8,
    returns: u8,
    time_changed: bool,
    time: i64,
    changed: [ArithmeticModel; 8],
    other: ArithmeticModel,
    counts: [Option<ArithmeticModel>; 16],
    numbers: [Option<ArithmeticModel>; 16],
    numbers_of_a_pulse: ArithmeticModel,
    x: IntegerDecompressor,
    y: IntegerDecompressor,
    last_x: [Median; 12],
    last_y: [Median; 12],
    sequences: Sequences,
}

impl Channel {
    fn new(return_number: u8, returns: u8, time: i64) -> Self {
        Self {
            return_number,
            returns,
            time_changed: false,
            time,
            changed: std::array::from_fn(|_| model(128)),
            other: model(3),
            counts: [const { None }; 16],
            numbers: [const { None }; 16],
            numbers_of_a_pulse: model(13),
            x: integers(2),
            y: integers(22),
            last_x: [Median::default(); 12],
            last_y: [Median::default(); 12],
            sequences: Sequences::new(time),
        }
    }

    /// The model of what changes: by whether the last return was its pulse's first, its last, and had a time of its own.
    fn context(&self) -> usize {
        usize::from(self.return_number == 1)
            + 2 * usize::from(self.return_number >= self.returns)
            + 4 * usize::from(self.time_changed)
    }

    fn follow_return(&mut self, changed: u32, layer: &mut Layer<'_>) -> Result<()> {
        let (last_count, last) = (usize::from(self.returns), usize::from(self.return_number));
        let with_time = changed & 1 << 4 != 0;
        let mut symbol =
            |model: &mut ArithmeticModel| layer.decode_symbol(model).map(|symbol| symbol as usize);
        let count = match changed & 1 << 2 {
            0 => last_count,
            _ => symbol(self.counts[last_count].get_or_insert_with(|| model(16)))?,
        };
        let number = match (changed & 3, with_time) {
            (0, _) => last,
            (1, _) => (last + 1) % 16,
            (2, _) => (last + 15) % 16,
            (_, true) => symbol(self.numbers[last].get_or_insert_with(|| model(16)))?,
            (_, false) => (last + symbol(&mut self.numbers_of_a_pulse)? + 2) % 16,
        };
        // Coordinates are in the same layer.
        let of_returns = usize::from(OF_RETURNS[count][number] - b'0');
        let median = of_returns << 1 | usize::from(with_time);
        let single = u32::from(count == 1);
        let x = self.x.decompress(layer, self.last_x[median].get(), single)?;
        self.last_x[median].add(x);
        let bits = self.x.k();
        let context = single + if bits < 20 { bits & !1 } else { 20 };
        let y = self.y.decompress(layer, self.last_y[median].get(), context)?;
        self.last_y[median].add(y);
        (self.return_number, self.returns, self.time_changed) = (number as u8, count as u8, with_time);
        Ok(())
    }
}

/// Multiples of the last difference that have a symbol of their own.
const MULTIPLES: i32 = 500;
const NEGATIVE_MULTIPLES: i32 = 10;
/// The symbol for a time that has nothing to do with the last ones; those above it switch to another sequence.
const WHOLE: i32 = MULTIPLES + NEGATIVE_MULTIPLES + 1;

/// Four sequences of GPS times.
struct Sequences {
    times: [i64; 4],
    differences: [i32; 4],
    extremes: [u32; 4],
    last: usize,
    next: usize,
    first: ArithmeticModel,
    multiples: ArithmeticModel,
    values: IntegerDecompressor,
}

impl Sequences {
    fn new(time: i64) -> Self {
        Self {
            times: [time, 0, 0, 0],
            differences: [0; 4],
            extremes: [0; 4],
            last: 0,
            next: 0,
            first: model(5),
            multiples: model(WHOLE as u32 + 4),
            values: integers(9),
        }
    }

    /// Follows one GPS time.
    fn follow(&mut self, layer: &mut Layer<'_>) -> Result<()> {
        for _ in 0..=MOST_SWITCHES {
            let at = self.last;
            let steady = self.differences[at] == 0;
            let symbol = match steady {
                true => layer.decode_symbol(&mut self.first)?,
                false => layer.decode_symbol(&mut self.multiples)?,
            } as i32;
            match (steady, symbol) {
                (true, 0) => {
                    self.differences[at] = self.values.decompress(layer, 0, 0)?;
                    self.advance(self.differences[at]);
                    self.extremes[at] = 0;
                }
                (true, 1) | (false, WHOLE) => self.whole(layer)?,
                (true, _) => {
                    self.last = (at + symbol as usize - 1) & 3;
                    continue;
                }
                (false, 1) => {
                    let difference = self.values.decompress(layer, self.differences[at], 1)?;
                    self.advance(difference);
                    self.extremes[at] = 0;
                }
                (false, ..WHOLE) => self.multiple(symbol, layer)?,
                (false, _) => {
                    self.last = (at + (symbol - WHOLE) as usize) & 3;
                    continue;
                }
            }
            return Ok(());
        }
        Err(endless())
    }

    fn advance(&mut self, difference: i32) {
        self.times[self.last] = self.times[self.last].wrapping_add(i64::from(difference));
    }

    fn whole(&mut self, layer: &mut Layer<'_>) -> Result<()> {
        let upper = (self.times[self.last] >> 32) as i32;
        self.next = (self.next + 1) & 3;
        let upper = self.values.decompress(layer, upper, 8)?;
        self.times[self.next] = i64::from(upper) << 32 | i64::from(layer.read_int()?);
        self.last = self.next;
        (self.differences[self.last], self.extremes[self.last]) = (0, 0);
        Ok(())
    }

    /// A multiple of the last difference, or nearly so.
    fn multiple(&mut self, symbol: i32, layer: &mut Layer<'_>) -> Result<()> {
        let at = self.last;
        let negative = MULTIPLES - symbol;
        // How often the difference is taken, and the model of what is left.
        let (times, context) = match symbol {
            0 => (0, 7),
            1..10 => (symbol, 2),
            10..MULTIPLES => (symbol, 3),
            MULTIPLES => (MULTIPLES, 4),
            _ if negative > -NEGATIVE_MULTIPLES => (negative, 5),
            _ => (-NEGATIVE_MULTIPLES, 6),
        };
        let expected = times.wrapping_mul(self.differences[at]);
        let difference = self.values.decompress(layer, expected, context)?;
        if matches!(context, 4 | 6 | 7) {
            // Differences beyond all multiples become the sequence's own when there are several.
            self.extremes[at] += 1;
            if self.extremes[at] > 3 {
                (self.differences[at], self.extremes[at]) = (difference, 0);
            }
        }
        self.advance(difference);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use laz::compressors::IntegerCompressorBuilder;
    use laz::encoders::ArithmeticEncoder;

    use super::*;

    fn encoded(work: impl FnOnce(&mut ArithmeticEncoder<Cursor<Vec<u8>>>)) -> Vec<u8> {
        let mut encoder = ArithmeticEncoder::new(Cursor::new(Vec::new()));
        work(&mut encoder);
        encoder.done().unwrap();
        encoder.into_inner().into_inner()
    }

    fn writing(symbols: u32) -> ArithmeticModel {
        ArithmeticModelBuilder::new(symbols).with_compression(true).build()
    }

    /// One point with a time of its own, whose stream switches so often first.
    fn layers(switches: usize) -> [Vec<u8>; 2] {
        let returns = encoded(|encoder| {
            encoder.encode_symbol(&mut writing(128), 1 << 4).unwrap();
            for contexts in [2, 22] {
                let mut values =
                    IntegerCompressorBuilder::new().bits(32).contexts(contexts).build_initialized();
                values.compress(encoder, 0, 0, 1).unwrap();
            }
        });
        let times = encoded(|encoder| {
            let mut first = writing(5);
            (0..switches).for_each(|_| encoder.encode_symbol(&mut first, 2).unwrap());
            encoder.encode_symbol(&mut first, 0).unwrap();
            let mut values = IntegerCompressorBuilder::new().bits(32).contexts(9).build_initialized();
            values.compress(encoder, 0, 77, 0).unwrap();
        });
        [returns, times]
    }

    fn checked(switches: usize) -> Result<()> {
        let [returns, times] = layers(switches);
        let mut first = [0; 30];
        first[14] = 0x11;
        check(&Layers { first: &first, points: 2, returns: &returns, times: &times })
    }

    #[test]
    fn a_byte_can_say_tens_of_thousands_of_switches() {
        let [_, few] = layers(1_000_000);
        let [_, many] = layers(2_000_000);
        let more = 1_000_000 / (many.len() - few.len());
        assert!((10_000..36_342).contains(&more), "{more}");
        assert!(checked(0).is_ok() && checked(1).is_ok() && checked(MOST_SWITCHES).is_ok());
        for switches in [MOST_SWITCHES + 1, 2_000_000] {
            assert_eq!(checked(switches).unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }

    /// Points of all channels, returns and kinds of difference between times.
    fn record(i: usize, random: &mut u64, time: &mut i64) -> [u8; 30] {
        let mut below = |n: u64| {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*random >> 33) % n
        };
        let mut bytes = [0; 30];
        for (axis, spread) in [40, 4000, 7].into_iter().enumerate() {
            let value = (i as i32 / 3 + below(spread) as i32).to_le_bytes();
            bytes[4 * axis..4 * axis + 4].copy_from_slice(&value);
        }
        let most = if below(9) == 0 { 15 } else { 3 };
        let returns = 1 + below(most);
        bytes[14] = (returns << 4 | (1 + below(returns))) as u8;
        bytes[15] = (below(4) << 4) as u8;
        let step = match below(12) {
            0 => 0,
            1 => below(1 << 40) as i64 - (1 << 39),
            2 => -100 * below(9) as i64,
            3 => 1000 * below(700) as i64,
            4 => below(1 << 31) as i64,
            _ => 1000,
        };
        *time = time.wrapping_add(step);
        bytes[22..].copy_from_slice(&time.to_le_bytes());
        bytes
    }

    #[test]
    fn layers_are_followed_as_laz_writes_them() {
        let (mut random, mut time) = (7, 0x41a0_0000_0000_0000);
        let mut records: Vec<[u8; 30]> = (0..30_000).map(|i| record(i, &mut random, &mut time)).collect();
        // A stretch of one channel and even steps: sequences then alternate.
        for (i, record) in records[20_000..].iter_mut().enumerate() {
            record[15] = 0;
            let time = 0x41b0_0000_0000_0000 + 77 * (i as i64 / 2) + ((i as i64 % 2) << 40);
            record[22..].copy_from_slice(&time.to_le_bytes());
        }
        let items = laz::LazItemRecordBuilder::default_for_point_format_id(6, 0).unwrap();
        let vlr = laz::LazVlrBuilder::new(items).with_fixed_chunk_size(records.len() as u32).build();
        let mut packed = Cursor::new(Vec::new());
        laz::compress_buffer(&mut packed, &records.concat(), vlr).unwrap();
        // Behind the chunk table's place: a record, a count, and the lengths of nine layers.
        let chunk = &packed.get_ref()[8..];
        let length = |layer: usize| crate::las::layout::u32_at(chunk, 34 + 4 * layer) as usize;
        let begin = |layer: usize| 34 + 36 + (0..layer).map(length).sum::<usize>();
        let layer = |layer: usize| &chunk[begin(layer)..begin(layer) + length(layer)];
        let layers =
            Layers { first: &chunk[..30], points: records.len() as u64, returns: layer(0), times: layer(8) };
        let mut told = Vec::new();
        follow(&layers, |channel, time| told.push((channel as u8, time))).unwrap();
        let expected: Vec<_> = records[1..]
            .iter()
            .map(|r| (r[15] >> 4, i64::from_le_bytes(r[22..].try_into().unwrap())))
            .collect();
        assert!(told == expected, "from point {:?}", (0..).zip(&told).find(|(i, t)| expected[*i] != **t));
        assert!(check(&layers).is_ok());
    }

    #[test]
    fn readers_deep_in_calls_get_nothing_more() {
        fn deep(source: &mut Shallow<&[u8]>) -> Result<u64> {
            let mut byte = [0; 100];
            source.read_exact(&mut byte[..1])?;
            // Calls that never come back to the addition would be compiled to a loop.
            if byte[0] == 1 {
                return Ok(1);
            }
            Ok(deep(source)? + u64::from(black_box(byte)[7]))
        }
        let bytes = vec![0; 1 << 20];
        let mut source = Shallow(&bytes[..]);
        let read = || deep(&mut source).unwrap_err().kind();
        let thread = std::thread::Builder::new().stack_size(4 << 20);
        let kind = std::thread::scope(|scope| {
            thread.spawn_scoped(scope, || from_here(read)).unwrap().join().unwrap()
        });
        assert_eq!(kind, ErrorKind::InvalidData);
        // Each call takes some of the stack.
        assert!(source.0.len() > bytes.len() - MOST_STACK / 16);
    }
}
