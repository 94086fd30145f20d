//! Counts the leaves of the chess move tree: all of chess's rules in bit boards, calls, branches and
//! small copies.
//!
//! usage: perft [DEPTH [start | kiwipete | FEN]]
//! Without arguments: depth 5 of the start position and depth 4 of kiwipete, about nine million leaves.
//! Every leaf is made, none is counted in bulk.
//! Expected counts: <https://www.chessprogramming.org/Perft_Results>.

use std::process::ExitCode;

const START: &str = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq -";
const KIWIPETE: &str = "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq -";

/// A set of squares; bit 0 is a1, bit 7 is h1, bit 63 is h8.
type Squares = u64;
type Square = u8;

const FILE_A: Squares = 0x0101_0101_0101_0101;
const FILE_H: Squares = FILE_A << 7;
const RANK_1: Squares = 0xff;
const RANK_8: Squares = RANK_1 << 56;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Pawn,
    Knight,
    Bishop,
    Rook,
    Queen,
    King,
}
use Piece::{Bishop, King, Knight, Pawn, Queen, Rook};

const PIECES: [Piece; 6] = [Pawn, Knight, Bishop, Rook, Queen, King];
const PROMOTIONS: [Piece; 4] = [Queen, Rook, Bishop, Knight];

const WHITE: usize = 0;
const BLACK: usize = 1;

/// Castling rights, as bits: the king's and the queen's side of white, then of black.
const KING_SIDE: [u8; 2] = [1, 4];
const QUEEN_SIDE: [u8; 2] = [2, 8];

#[derive(Clone, Copy)]
struct Move {
    from: Square,
    to: Square,
    promotion: Option<Piece>,
}

/// A position. Copied for each move made; there is no taking back.
#[derive(Clone)]
struct Position {
    pieces: [Squares; 6],
    colours: [Squares; 2],
    to_move: usize,
    castling: u8,
    /// The square behind a pawn that has just made a double step.
    en_passant: Squares,
}

/// The pseudo-legal moves of one position: at most 218 are possible in chess.
struct Moves {
    list: [Move; 256],
    len: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => report("5", START).and_then(|()| report("4", KIWIPETE)),
        [depth] | [depth, "start"] => report(depth, START),
        [depth, "kiwipete"] => report(depth, KIWIPETE),
        [depth, fen] => report(depth, fen),
        _ => None,
    };
    if done.is_none() {
        eprintln!("usage: perft [DEPTH [start | kiwipete | FEN]]");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Prints one count. None: the depth or the position cannot be read.
fn report(depth: &str, fen: &str) -> Option<()> {
    let depth = depth.parse().ok()?;
    let position = Position::from_fen(fen)?;
    println!("perft {depth} = {}", perft(&position, depth, &Tables::new()));
    Some(())
}

fn perft(position: &Position, depth: u32, tables: &Tables) -> u64 {
    if depth == 0 {
        return 1;
    }
    let mut leaves = 0;
    let moves = position.pseudo_legal_moves(tables);
    for &candidate in &moves.list[..moves.len] {
        let next = position.after(candidate);
        if !next.is_attacked(next.king_of(position.to_move), next.to_move, tables) {
            leaves += perft(&next, depth - 1, tables);
        }
    }
    leaves
}

/// Where knights and kings go from each square.
struct Tables {
    knight: [Squares; 64],
    king: [Squares; 64],
}

impl Tables {
    fn new() -> Self {
        let mut tables = Tables { knight: [0; 64], king: [0; 64] };
        for square in 0..64 {
            let (file, rank) = ((square % 8) as i32, (square / 8) as i32);
            for right in -2..=2_i32 {
                for up in -2..=2_i32 {
                    let (file, rank) = (file + right, rank + up);
                    if !(0..8).contains(&file) || !(0..8).contains(&rank) {
                        continue;
                    }
                    let target = 1 << (rank * 8 + file);
                    match (right.abs(), up.abs()) {
                        (1, 2) | (2, 1) => tables.knight[square] |= target,
                        (0, 1) | (1, 0) | (1, 1) => tables.king[square] |= target,
                        _ => {}
                    }
                }
            }
        }
        tables
    }
}

/// The squares that a ray from `from` reaches: up to the first occupied one, that included.
/// `edge` holds the squares beyond which a step in this direction would leave the board.
fn ray(from: Squares, shift: i32, edge: Squares, occupied: Squares) -> Squares {
    let mut reached = 0;
    let mut square = from;
    while square & edge == 0 {
        square = if shift > 0 { square << shift } else { square >> -shift };
        reached |= square;
        if square & occupied != 0 {
            break;
        }
    }
    reached
}

fn straight(from: Squares, occupied: Squares) -> Squares {
    ray(from, 8, RANK_8, occupied)
        | ray(from, -8, RANK_1, occupied)
        | ray(from, 1, FILE_H, occupied)
        | ray(from, -1, FILE_A, occupied)
}

fn diagonal(from: Squares, occupied: Squares) -> Squares {
    ray(from, 9, FILE_H | RANK_8, occupied)
        | ray(from, 7, FILE_A | RANK_8, occupied)
        | ray(from, -7, FILE_H | RANK_1, occupied)
        | ray(from, -9, FILE_A | RANK_1, occupied)
}

/// The squares that pawns of `colour` on `pawns` attack.
fn pawn_attacks(pawns: Squares, colour: usize) -> Squares {
    let (left, right) = (pawns & !FILE_A, pawns & !FILE_H);
    if colour == WHITE { left << 7 | right << 9 } else { left >> 9 | right >> 7 }
}

fn forward(squares: Squares, colour: usize) -> Squares {
    if colour == WHITE { squares << 8 } else { squares >> 8 }
}

/// The squares of a set, lowest first.
fn each(mut set: Squares) -> impl Iterator<Item = Square> {
    std::iter::from_fn(move || {
        let square = set.trailing_zeros() as Square;
        set &= set.wrapping_sub(1);
        (square < 64).then_some(square)
    })
}

impl Position {
    /// Reads the first four fields of Forsyth-Edwards notation.
    fn from_fen(fen: &str) -> Option<Position> {
        let mut fields = fen.split_whitespace();
        let mut position = Position {
            pieces: [0; 6],
            colours: [0; 2],
            to_move: WHITE,
            castling: 0,
            en_passant: 0,
        };
        for (row, text) in fields.next()?.split('/').enumerate() {
            let mut file = 0;
            for letter in text.chars() {
                if let Some(empty) = letter.to_digit(10) {
                    file += empty as usize;
                    continue;
                }
                let piece = "pnbrqk".find(letter.to_ascii_lowercase())?;
                let rank = 7_usize.checked_sub(row)?;
                let square = 1 << (rank * 8 + file.min(7));
                position.pieces[piece] |= square;
                position.colours[usize::from(letter.is_ascii_lowercase())] |= square;
                file += 1;
            }
        }
        position.to_move = usize::from(fields.next()? == "b");
        for letter in fields.next()?.chars() {
            position.castling |= "KQkq".find(letter).map_or(0, |bit| 1 << bit);
        }
        if let &[file, rank] = fields.next()?.as_bytes() {
            let square = rank.checked_sub(b'1')? * 8 + file.checked_sub(b'a')?;
            position.en_passant = 1_u64.checked_shl(square.into())?;
        }
        (position.pieces[King as usize].count_ones() == 2).then_some(position)
    }

    fn king_of(&self, colour: usize) -> Squares {
        self.pieces[King as usize] & self.colours[colour]
    }

    fn piece_at(&self, square: Squares) -> Option<Piece> {
        PIECES.into_iter().find(|&piece| self.pieces[piece as usize] & square != 0)
    }

    /// Whether `colour` attacks any square of `target` (one square in practice).
    fn is_attacked(&self, target: Squares, colour: usize, tables: &Tables) -> bool {
        let occupied = self.colours[WHITE] | self.colours[BLACK];
        let mine = |piece: Piece| self.pieces[piece as usize] & self.colours[colour];
        let square = target.trailing_zeros() as usize & 63;
        pawn_attacks(target, 1 - colour) & mine(Pawn) != 0
            || tables.knight[square] & mine(Knight) != 0
            || tables.king[square] & mine(King) != 0
            || diagonal(target, occupied) & (mine(Bishop) | mine(Queen)) != 0
            || straight(target, occupied) & (mine(Rook) | mine(Queen)) != 0
    }

    /// All moves that obey the pieces' ways; some may leave the own king attacked.
    fn pseudo_legal_moves(&self, tables: &Tables) -> Moves {
        let mut moves = Moves { list: [Move { from: 0, to: 0, promotion: None }; 256], len: 0 };
        self.pawn_moves(&mut moves);
        let occupied = self.colours[WHITE] | self.colours[BLACK];
        let own = self.colours[self.to_move];
        for piece in [Knight, Bishop, Rook, Queen, King] {
            for from in each(self.pieces[piece as usize] & own) {
                let square = 1 << from;
                let targets = match piece {
                    Knight => tables.knight[usize::from(from)],
                    Bishop => diagonal(square, occupied),
                    Rook => straight(square, occupied),
                    Queen => diagonal(square, occupied) | straight(square, occupied),
                    King | Pawn => tables.king[usize::from(from)],
                };
                moves.push_all(from, targets & !own);
            }
        }
        self.castling_moves(&mut moves, tables);
        moves
    }

    fn pawn_moves(&self, moves: &mut Moves) {
        let colour = self.to_move;
        let free = !(self.colours[WHITE] | self.colours[BLACK]);
        let third_rank = RANK_1 << if colour == WHITE { 16 } else { 40 };
        let prey = self.colours[1 - colour] | self.en_passant;
        for from in each(self.pieces[Pawn as usize] & self.colours[colour]) {
            let pawn = 1 << from;
            let step = forward(pawn, colour) & free;
            let double = forward(step & third_rank, colour) & free;
            let targets = step | double | pawn_attacks(pawn, colour) & prey;
            for to in each(targets & (RANK_1 | RANK_8)) {
                for piece in PROMOTIONS {
                    moves.push(Move { from, to, promotion: Some(piece) });
                }
            }
            moves.push_all(from, targets & !(RANK_1 | RANK_8));
        }
    }

    /// The king may not castle out of or through an attack; into one is refused as for any move.
    fn castling_moves(&self, moves: &mut Moves, tables: &Tables) {
        let colour = self.to_move;
        let occupied = self.colours[WHITE] | self.colours[BLACK];
        let king: Square = if colour == WHITE { 4 } else { 60 };
        let safe = |square: Square| !self.is_attacked(1 << square, 1 - colour, tables);
        let may = |right: u8, between: Squares, through: Square| {
            self.castling & right != 0
                && occupied & (between << (king - 4)) == 0
                && safe(king)
                && safe(through)
        };
        if may(KING_SIDE[colour], 0x60, king + 1) {
            moves.push(Move { from: king, to: king + 2, promotion: None });
        }
        if may(QUEEN_SIDE[colour], 0x0e, king - 1) {
            moves.push(Move { from: king, to: king - 2, promotion: None });
        }
    }

    /// The position after a pseudo-legal move.
    fn after(&self, chosen: Move) -> Position {
        let mut next = self.clone();
        let (from, to) = (1 << chosen.from, 1 << chosen.to);
        let Some(piece) = self.piece_at(from) else { return next };
        let colour = self.to_move;

        next.remove(to);
        next.remove(from);
        next.put(chosen.promotion.unwrap_or(piece), colour, to);
        if piece == Pawn && to == self.en_passant {
            next.remove(forward(to, 1 - colour));
        }
        if piece == King && chosen.from.abs_diff(chosen.to) == 2 {
            let king_side = chosen.to > chosen.from;
            next.remove(if king_side { to << 1 } else { to >> 2 });
            next.put(Rook, colour, if king_side { to >> 1 } else { to << 1 });
        }
        let double_step = piece == Pawn && chosen.from.abs_diff(chosen.to) == 16;
        next.en_passant = if double_step { forward(from, colour) } else { 0 };
        next.castling &= !(rights_of(from) | rights_of(to));
        next.to_move = 1 - colour;
        next
    }

    fn remove(&mut self, square: Squares) {
        self.pieces.iter_mut().chain(&mut self.colours).for_each(|set| *set &= !square);
    }

    fn put(&mut self, piece: Piece, colour: usize, square: Squares) {
        self.pieces[piece as usize] |= square;
        self.colours[colour] |= square;
    }
}

/// The castling rights that end when something leaves or reaches `square`.
fn rights_of(square: Squares) -> u8 {
    match square.trailing_zeros() {
        0 => QUEEN_SIDE[WHITE],
        4 => KING_SIDE[WHITE] | QUEEN_SIDE[WHITE],
        7 => KING_SIDE[WHITE],
        56 => QUEEN_SIDE[BLACK],
        60 => KING_SIDE[BLACK] | QUEEN_SIDE[BLACK],
        63 => KING_SIDE[BLACK],
        _ => 0,
    }
}

impl Moves {
    fn push(&mut self, entry: Move) {
        self.list[self.len] = entry;
        self.len += 1;
    }

    fn push_all(&mut self, from: Square, targets: Squares) {
        for to in each(targets) {
            self.push(Move { from, to, promotion: None });
        }
    }
}
