//! Running automata over a text, up to four at a time: each waits for its table alone, so four take hardly longer than one.

use super::dfa::{DEAD, Dfa, MATCHED, ROW_UNIT, joined};

/// How many characters are read ahead, for all automata.
const BLOCK_LEN: usize = 256;

/// Automata that run side by side.
struct Lanes<const N: usize> {
    /// All tables, one behind the other. A target is where its row begins in its own table, in units of [`ROW_UNIT`].
    targets: Vec<u16>,
    /// For each class of characters where its column is, in each table.
    columns: Vec<[u32; N]>,
    starts: [u16; N],
}

/// Automata for one alphabet.
pub(super) struct Scanner {
    /// From where on which class is, for what is not ASCII; the ASCII characters are classes of their own.
    classes: Vec<(u32, u16)>,
    /// What stands behind the last character.
    end: u16,
    /// An expression that matches every text.
    always: Option<u16>,
    fours: Vec<Lanes<4>>,
    twos: Vec<Lanes<2>>,
    ones: Vec<Lanes<1>>,
}

const ASCII_COUNT: u16 = 0x80;

impl Scanner {
    pub(super) fn new(automata: &[Dfa]) -> Self {
        // What no automaton tells apart has one class.
        let mut classes: Vec<(u32, u16)> = vec![(0, 0)];
        for automaton in automata {
            classes = joined(&classes, &automaton.classes).0;
        }
        let beyond = classes.partition_point(|(edge, _)| *edge < ASCII_COUNT.into());
        let first = classes.get(beyond.saturating_sub(1)).map(|(_, class)| (u32::from(ASCII_COUNT), *class));
        let mut classes: Vec<_> = match classes.get(beyond) {
            Some((edge, _)) if *edge == u32::from(ASCII_COUNT) => classes.split_off(beyond),
            _ => first.into_iter().chain(classes.split_off(beyond)).collect(),
        };
        let mut names = Vec::new();
        for (edge, class) in &mut classes {
            let known = names.iter().position(|(_, own)| own == class);
            let index = known.unwrap_or_else(|| {
                names.push((*edge, *class));
                names.len().saturating_sub(1)
            });
            *class = u16::try_from(index).unwrap_or(u16::MAX).saturating_add(ASCII_COUNT);
        }
        // One character of each class.
        let samples: Vec<u32> = (0..ASCII_COUNT.into()).chain(names.iter().map(|(edge, _)| *edge)).collect();
        let end = u16::try_from(samples.len()).unwrap_or(u16::MAX);
        let always = automata.iter().map(|automaton| automaton.start).filter(|start| start & MATCHED != 0).min();
        let always = always.map(|start| start & !MATCHED);
        let mut scanner = Self { classes, end, always, fours: Vec::new(), twos: Vec::new(), ones: Vec::new() };
        let mut rest = automata;
        while let Some((four, behind)) = rest.split_first_chunk::<4>() {
            scanner.fours.push(Lanes::new(four, &samples));
            rest = behind;
        }
        while let Some((two, behind)) = rest.split_first_chunk::<2>() {
            scanner.twos.push(Lanes::new(two, &samples));
            rest = behind;
        }
        if let Some((one, _)) = rest.split_first_chunk::<1>() {
            scanner.ones.push(Lanes::new(one, &samples));
        }
        scanner
    }

    pub(super) fn find(&self, text: &str) -> Option<u16> {
        if self.always.is_some() {
            return self.always;
        }
        let mut fours: Vec<[u16; 4]> = self.fours.iter().map(|lanes| lanes.starts).collect();
        let mut twos: Vec<[u16; 2]> = self.twos.iter().map(|lanes| lanes.starts).collect();
        let mut ones: Vec<[u16; 1]> = self.ones.iter().map(|lanes| lanes.starts).collect();
        let mut block = [0_u16; BLOCK_LEN];
        let mut rest = text;
        loop {
            let (len, behind) = self.read(rest, &mut block);
            let ids = block.get(..len).unwrap_or_default();
            let found = step_all(&self.fours, &mut fours, ids)
                .or_else(|| step_all(&self.twos, &mut twos, ids))
                .or_else(|| step_all(&self.ones, &mut ones, ids));
            if found.is_some() || (rest.is_empty()) {
                return found;
            }
            rest = behind;
        }
    }

    /// Reads a block of classes; the end of the text is one.
    fn read<'t>(&self, text: &'t str, block: &mut [u16; BLOCK_LEN]) -> (usize, &'t str) {
        if text.is_empty() {
            if let Some(first) = block.first_mut() {
                *first = self.end;
            }
            return (1, text);
        }
        if let Some((ascii, behind)) = text.split_at_checked(BLOCK_LEN)
            && ascii.is_ascii()
        {
            for (class, byte) in block.iter_mut().zip(ascii.bytes()) {
                *class = byte.into();
            }
            return (BLOCK_LEN, behind);
        }
        let mut len: usize = 0;
        let mut characters = text.chars();
        for (class, character) in block.iter_mut().zip(&mut characters) {
            len = len.wrapping_add(1);
            *class = match u16::try_from(u32::from(character)) {
                Ok(ascii) if ascii < ASCII_COUNT => ascii,
                _ => self.class(character.into()),
            };
        }
        (len, characters.as_str())
    }

    fn class(&self, character: u32) -> u16 {
        let behind = self.classes.partition_point(|(edge, _)| *edge <= character);
        self.classes.get(behind.wrapping_sub(1)).map_or(ASCII_COUNT, |(_, class)| *class)
    }

    /// How many automata there are.
    pub(super) fn lane_count(&self) -> usize {
        let (fours, twos) = (self.fours.len().saturating_mul(4), self.twos.len().saturating_mul(2));
        self.ones.len().saturating_add(fours).saturating_add(twos)
    }

    /// The bytes of its tables.
    pub(super) fn len(&self) -> usize {
        let tables = self.fours.iter().map(Lanes::len).chain(self.twos.iter().map(Lanes::len));
        let tables = tables.chain(self.ones.iter().map(Lanes::len)).fold(0, usize::saturating_add);
        size_of_val(self.classes.as_slice()).saturating_add(tables)
    }
}

fn step_all<const N: usize>(all: &[Lanes<N>], states: &mut [[u16; N]], classes: &[u16]) -> Option<u16> {
    all.iter().zip(states).find_map(|(lanes, states)| lanes.step(states, classes))
}

impl<const N: usize> Lanes<N> {
    fn new(automata: &[Dfa; N], samples: &[u32]) -> Self {
        let mut lanes =
            Self { targets: Vec::new(), columns: vec![[0; N]; samples.len().saturating_add(1)], starts: [DEAD; N] };
        for (lane, automaton) in automata.iter().enumerate() {
            let base = u32::try_from(lanes.targets.len()).unwrap_or(u32::MAX);
            let units = automaton.pitch().checked_div(ROW_UNIT).unwrap_or_default();
            let place = |target: u16| {
                let row = usize::from(target).saturating_mul(units);
                if target & MATCHED != 0 { target } else { u16::try_from(row).unwrap_or_default() }
            };
            for row in automaton.targets.chunks(automaton.width.max(1)) {
                lanes.targets.extend(row.iter().map(|target| place(*target)));
                lanes.targets.resize(lanes.targets.len().next_multiple_of(ROW_UNIT), DEAD);
            }
            if let Some(start) = lanes.starts.get_mut(lane) {
                *start = place(automaton.start);
            }
            let end = u16::try_from(automaton.width.saturating_sub(1)).unwrap_or_default();
            let class = |sample: &u32| {
                let behind = automaton.classes.partition_point(|(edge, _)| edge <= sample);
                automaton.classes.get(behind.wrapping_sub(1)).map_or(0, |(_, class)| *class)
            };
            let classes = samples.iter().map(class).chain([end]);
            for (columns, class) in lanes.columns.iter_mut().zip(classes) {
                if let Some(column) = columns.get_mut(lane) {
                    *column = base.saturating_add(class.into());
                }
            }
        }
        lanes
    }

    fn len(&self) -> usize {
        size_of_val(self.targets.as_slice()).saturating_add(size_of_val(self.columns.as_slice()))
    }

    fn step(&self, states: &mut [u16; N], classes: &[u16]) -> Option<u16> {
        let mut now = *states;
        for class in classes {
            let Some(columns) = self.columns.get(usize::from(*class)) else { continue };
            let mut any = 0;
            for (state, column) in now.iter_mut().zip(columns) {
                let place = usize::from(*state).wrapping_mul(ROW_UNIT).wrapping_add(*column as usize);
                *state = self.targets.get(place).copied().unwrap_or(DEAD);
                any |= *state;
            }
            if any & MATCHED != 0 {
                let first = now.into_iter().filter(|state| state & MATCHED != 0).min();
                return first.map(|state| state & !MATCHED);
            }
        }
        *states = now;
        None
    }
}
