//! The units of languages with functions, written out.
//!
//! Invariants:
//! - a row of an expected outline is the kind and the qualified name of a unit, and its parameter types.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use aura_semantic::{Budget, UnitKind, outline};
use common::{check, text, unit};

#[test]
fn csharp_members_of_nested_namespaces_and_types_are_units_and_overloads_differ_by_types() {
    check("Depot.cs", DEPOT);
    let depot = text("Depot.cs");
    let add = unit("a.cs", &depot, "Depot.Stock::Shelf::Add");
    assert!(add.starts_with("// Takes in some pieces.\n        [Obsolete("));
    let climate = unit("a.cs", &depot, "Depot.Stock::Climate");
    assert!(climate.starts_with("/// <summary>How a shelf is kept.</summary>\n    [Flags]"));
    let explicit = "namespace A;\nclass B {\n#if X\n    int a;\n#else\n    int b;\n#endif\n    void C.Run() {}\n}\n";
    assert_eq!(unit("a.cs", explicit, "B::C.Run"), "void C.Run() {}");
    assert_eq!(unit("a.cs", explicit, "B::b"), "int b;");
    assert_eq!(
        unit("a.cs", "int x = 1;\nvoid F() {}\n", "F"),
        "void F() {}"
    );
}

#[test]
fn ruby_class_methods_accessors_and_singleton_classes_are_units() {
    check("ledger.rb", LEDGER);
    let ledger = text("ledger.rb");
    let parse = unit("a.rb", &ledger, "Ledger::Entry::self.parse");
    assert!(parse.starts_with("# The comment of a class method.\n    def self.parse"));
    assert!(unit("a.rb", &ledger, "Ledger").starts_with("# Everything about"));
    let here = "A = <<~X.strip\n  text\nX\n\ndef b; end\n__END__\ndef c; end\n";
    assert_eq!(unit("a.rb", here, "A"), "A = <<~X.strip\n  text\nX");
    assert_eq!(unit("a.rb", here, "b"), "def b; end");
}

#[test]
fn php_units_have_their_attributes_and_the_tag_stays_in_a_gap() {
    check("invoice.php", INVOICE);
    let invoice = text("invoice.php");
    let add = unit("a.php", &invoice, "Invoice::add");
    assert!(add.starts_with("// Adds one line; the comment stays with it.\n    #[Pure]\n"));
    assert!(unit("a.php", &invoice, "Invoice").starts_with("/**\n * What a customer"));
    let page = "<?php\nnamespace A {\n    function b() {}\n}\n?>\n<p>\n<?php\nrequire 'c.php';\n";
    assert_eq!(unit("a.php", page, "A::b"), "function b() {}");
    assert_eq!(unit("a.php", page, "import"), "require 'c.php';");
}

#[test]
fn bash_functions_and_variables_are_units() {
    check("release.sh", RELEASE);
    let release = text("release.sh");
    assert!(unit("a.sh", &release, "run").starts_with("# Runs a command unless"));
    assert!(unit("a.sh", &release, "dry_run").ends_with("leaves this machine."));
    assert_eq!(unit("a.sh", "export A\n. ./b.sh\n", "A"), "export A");
    assert_eq!(unit("a.sh", "export A\n. ./b.sh\n", "import"), ". ./b.sh");
}

#[test]
fn kotlin_extensions_are_named_with_their_receiver() {
    check("Garden.kt", GARDEN);
    let garden = text("Garden.kt");
    let plant = unit("a.kt", &garden, "Bed::plant");
    assert!(plant.starts_with("// Plants one seed; the comment stays with it.\n    @Throws"));
    assert!(unit("a.kt", &garden, "Bed").starts_with("/**\n * A place for plants.\n */\n@Ser"));
    assert_eq!(
        unit("a.kt", "val (a, b) = c\nfun A?.d(e: Int = 1) {}\n", "A?.d"),
        "fun A?.d(e: Int = 1) {}"
    );
}

#[test]
fn swift_extensions_add_members_to_their_type_and_labels_tell_functions_apart() {
    check("Player.swift", PLAYER);
    let player = text("Player.swift");
    let found = outline("a.swift", player.as_bytes(), &Budget::default());
    let extensions = found
        .units
        .iter()
        .filter(|unit| unit.kind == UnitKind::Impl);
    let names: Vec<&str> = extensions.map(|unit| unit.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "extension Player: CustomStringConvertible",
            "extension Track"
        ]
    );
    assert!(unit("a.swift", &player, "Player::play").starts_with("// Plays one track;"));
    assert!(unit("a.swift", &player, "Player").starts_with("/// Holds the queue;"));
}

#[test]
fn scala_members_are_units_with_braces_and_with_indentation() {
    check("Routes.scala", ROUTES);
    let routes = text("Routes.scala");
    let find = unit("a.scala", &routes, "Planner::find");
    assert!(find.starts_with("// Finds some way; the comment stays with it.\n  @tailrec"));
    assert!(unit("a.scala", &routes, "Light").ends_with("end Light"));
    let braces = "extension [A](a: List[A])(using B) {\n  def c = 1\n}\n";
    assert_eq!(unit("a.scala", braces, "List[A]::c"), "def c = 1");
}

#[test]
fn lua_functions_have_their_full_names_and_assigned_ones_are_functions() {
    check("world.lua", WORLD);
    let world = text("world.lua");
    assert!(unit("a.lua", &world, "Room.new").starts_with("--- Makes a room.\n-- @param"));
    assert!(unit("a.lua", &world, "move").starts_with("local move = function("));
}

const DEPOT: &str = "
    import import
    import import
    import import
    statement statement
    module Depot.Stock
    class Depot.Stock::Climate
    constant Depot.Stock::Climate::Dry
    constant Depot.Stock::Climate::Cold
    constant Depot.Stock::Climate::Frozen
    type Depot.Stock::Moved
    class Depot.Stock::ICounts
    constant Depot.Stock::ICounts::Count
    method Depot.Stock::ICounts::Add(string,int = 1)
    class Depot.Stock::Shelf
    constant Depot.Stock::Shelf::Limit
    constant Depot.Stock::Shelf::articles
    constant Depot.Stock::Shelf::Changed
    constant Depot.Stock::Shelf::Count
    constant Depot.Stock::Shelf::IsFull
    method Depot.Stock::Shelf::this(string)
    method Depot.Stock::Shelf::Shelf()
    method Depot.Stock::Shelf::Shelf(Climate)
    method Depot.Stock::Shelf::~Shelf()
    constant Depot.Stock::Shelf::Climate
    method Depot.Stock::Shelf::Add(string,int = 1)
    method Depot.Stock::Shelf::Add(IEnumerable<string>)
    method Depot.Stock::Shelf::Dispose()
    method Depot.Stock::Shelf::+(Shelf,Shelf)
    method Depot.Stock::Shelf::operator int(Shelf)
    class Depot.Stock::Shelf::Slot
    constant Depot.Stock::Shelf::Slot::Row
    method Depot.Stock::Shelf::Slot::ToString()
    class Depot.Stock::Order
    method Depot.Stock::Order::Rest(int)
    class Depot.Stock::Place
";

const LEDGER: &str = "
    import import
    import import
    constant RATES
    function ROUND
    module Ledger
    constant Ledger::VERSION
    class Ledger::Error
    class Ledger::Entry
    import Ledger::Entry::import
    import Ledger::Entry::import
    constant Ledger::Entry::date
    constant Ledger::Entry::note
    declaration Ledger::Entry::total
    method Ledger::Entry::initialize
    method Ledger::Entry::self.parse
    impl Ledger::Entry::self
    constant Ledger::Entry::self::rate
    method Ledger::Entry::self::rate
    method Ledger::Entry::self::empty
    method Ledger::Entry::<=>
    method Ledger::Entry::note=
    method Ledger::Entry::credit?
    statement Ledger::Entry::statement
    method Ledger::Entry::taxed
    module Ledger::Reports
    class Ledger::Reports::Monthly
    method Ledger::Reports::Monthly::initialize
    method Ledger::Reports::Monthly::run
    function Ledger::self.open
    class Ledger::Archive
    method Ledger::Archive::initialize
    function main
    statement statement
";

const INVOICE: &str = r#"
    statement statement
    module Billing\Documents
    import import
    import import
    import import
    constant CURRENCY
    class State
    constant State::Draft
    constant State::Sent
    constant State::Paid
    method State::label
    class Printable
    method Printable::print
    class Numbered
    constant Numbered::$last
    method Numbered::number
    class Invoice
    import Invoice::import
    constant Invoice::DUE_DAYS
    constant Invoice::$lines
    constant Invoice::$total
    method Invoice::__construct
    method Invoice::add
    method Invoice::of
    method Invoice::footer
    method Invoice::print
    function overdue
    function $format
    function $tax
    statement statement
"#;

const RELEASE: &str = "
    statement statement
    constant ROOT
    constant TARGET
    constant PARTS
    constant version
    constant dry_run
    import import
    function say
    function die
    function usage
    function read_arguments
    function build_part
    function run
    function upload
    function cleanup
    statement statement
    statement statement
    statement statement
    statement statement
";

const GARDEN: &str = "
    statement statement
    statement statement
    import import
    import import
    import import
    constant BEDS_MAX
    type Harvest
    class Season
    constant Season::SPRING
    constant Season::SUMMER
    method Season::rainy()
    class Season::companion
    method Season::companion::of(Int)
    class Grower
    constant Grower::name
    method Grower::grow(Seed)
    method Grower::water(Double)
    class Bed
    constant Bed::area
    constant Bed::planted
    constant Bed::owner
    statement Bed::init
    method Bed::constructor(Int)
    method Bed::plant(Seed)
    method Bed::plant(List<Seed>,Day)
    class Bed::Factory
    constant Bed::Factory::STEP
    method Bed::Factory::square(Int)
    class Bed::Row
    method Bed::Row::seeds()
    class Calendar
    constant Calendar::days
    method Calendar::season(Day)
    function Bed.isFull()
    function List<T>.names()
    constant Bed.perimeter
    function main()
";

const PLAYER: &str = "
    import import
    import import
    constant defaultVolume
    type Handler
    class Track
    constant Track::title
    constant Track::length
    method Track::init(String)
    constant Track::minutes
    class Mode
    constant Mode::once
    constant Mode::loop
    method Mode::next()
    class Source
    type Source::Item
    constant Source::count
    method Source::track(at : Int)
    method Source::init(String)
    class Player
    constant Player::queue
    constant Player::source
    constant Player::shared
    constant Player::volume
    constant Player::current
    method Player::init(S)
    method Player::deinit()
    method Player::play(_ : Track)
    method Player::play(at : Int)
    method Player::play(from : String,Mode)
    method Player::subscript(Int)
    class Player::Timer
    constant Player::Timer::left
    method Player::Timer::tick()
    impl Player
    constant Player::description
    impl Track
    method Track::==(Track,Track)
    function shuffled(_ : [Track])
";

const ROUTES: &str = "
    module city.traffic
    import import
    import import
    class Vehicle
    method Vehicle::speed
    method Vehicle::seats
    class Bike
    class Bus
    method Bus::isFull(Int)
    class Vehicle
    constant Vehicle::Slow
    constant Vehicle::made
    constant Vehicle::order
    method Vehicle::apply(Int)
    class Light
    constant Light::Red
    constant Light::Green
    method Light::wait(Int)
    class Planner
    type Planner::Path
    constant Planner::seen
    method Planner::find(Place,Place)
    method Planner::find(Place,Int)
    constant Planner::size
    class Planner::Cache
    method Planner::Cache::clear()
    class Show
    method Show::show(A)
    method Show::twice(A)
    class showPlace
    method showPlace::show(Place)
    constant Show[Int]
    impl Place
    method Place::near(Place)
    method Place::label
    function main(Array[String])
";

const WORLD: &str = "
    constant json
    constant Room
    constant Room.__index
    constant ROOMS_MAX
    constant VERSION
    constant world
    function Room.new
    function Room:leads
    function Room:describe
    function count
    function world.add
    function move
    function world.tools.dig
    function main
    statement statement
    statement statement
    statement statement
";
