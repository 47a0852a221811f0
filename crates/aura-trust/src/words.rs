//! Fingerprints as words that two people can compare aloud.
//!
//! Invariants:
//! - 256 distinct words in alphabetic order, one for each value of a byte; none ever changes its place.

/// The first `n` bytes of a hash as words joined by hyphens; each word says 8 bits.
pub fn words(hash: &[u8], n: usize) -> String {
    hash.iter()
        .take(n)
        .map(|byte| WORDS[usize::from(*byte)])
        .collect::<Vec<_>>()
        .join("-")
}

const WORDS: [&str; 256] = [
    "acorn", "album", "alder", "alpine", "amber", "anchor", "apple", "april", "apron", "arch",
    "arrow", "ash", "aspen", "atlas", "attic", "autumn", "axle", "bacon", "badge", "bagel",
    "bakery", "balloon", "bamboo", "banjo", "barley", "barn", "basil", "basket", "beach", "beacon",
    "bean", "bear", "beaver", "bell", "berry", "birch", "bishop", "bison", "blanket", "blue",
    "boat", "bonfire", "book", "boot", "bottle", "branch", "brass", "bread", "breeze", "brick",
    "bridge", "brook", "broom", "bubble", "bucket", "buffalo", "butter", "button", "cabin",
    "cactus", "camel", "candle", "canoe", "canyon", "carbon", "carpet", "carrot", "castle",
    "cedar", "cello", "chalk", "cherry", "chess", "cider", "cinema", "circle", "clay", "cliff",
    "clock", "cloud", "clover", "cobalt", "cocoa", "coffee", "comet", "copper", "coral", "cotton",
    "cousin", "crab", "crane", "crater", "crayon", "cricket", "crown", "cypress", "daisy", "dawn",
    "deer", "delta", "denim", "desert", "diamond", "dolphin", "domino", "donkey", "dragon", "drum",
    "dune", "eagle", "easel", "echo", "elbow", "elm", "ember", "emerald", "engine", "falcon",
    "feather", "fennel", "ferry", "fiddle", "field", "finch", "flame", "flute", "forest", "fossil",
    "fox", "garden", "garlic", "geyser", "ginger", "glacier", "glove", "goat", "gold", "granite",
    "grape", "gravel", "guitar", "hammer", "harbor", "harp", "hawk", "hazel", "hedge", "heron",
    "hill", "honey", "horizon", "indigo", "iris", "island", "ivory", "ivy", "jacket", "jasmine",
    "jelly", "jigsaw", "jungle", "kayak", "kettle", "kitten", "ladder", "lagoon", "lantern",
    "laurel", "lemon", "lilac", "linen", "lion", "lizard", "lobster", "lotus", "magnet", "mango",
    "maple", "marble", "meadow", "melon", "mint", "mirror", "monkey", "moon", "moss", "mountain",
    "muffin", "nectar", "nickel", "nutmeg", "oasis", "ocean", "olive", "onion", "opal", "orange",
    "orchid", "otter", "oyster", "paddle", "palm", "panda", "paper", "parrot", "peach", "pearl",
    "pebble", "pelican", "pepper", "piano", "pigeon", "pine", "planet", "plum", "pocket", "pony",
    "poppy", "prairie", "puffin", "pumpkin", "quartz", "quill", "rabbit", "radish", "rain",
    "raven", "reef", "ribbon", "river", "robin", "rocket", "rose", "ruby", "saddle", "saffron",
    "salmon", "sandal", "sapphire", "scarf", "seven", "shadow", "silver", "sparrow", "spruce",
    "summer", "sunset", "teapot", "temple", "thunder", "tiger", "tulip", "tundra", "turtle",
    "valley", "violin",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_short_distinct_and_in_order() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
        for word in WORDS {
            assert!((3..=8).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn a_hash_becomes_as_many_words_as_asked_for() {
        assert_eq!(
            words(&[0, 255, 1, 9], 3),
            format!("{}-{}-{}", WORDS[0], WORDS[255], WORDS[1])
        );
        assert_eq!(words(&[7; 32], 6).split('-').count(), 6);
        assert_eq!(words(&[7; 2], 6).split('-').count(), 2);
    }
}
