defmodule Kantoku.Degradation.Config do
  # The options of an instance's degradation, checked once. Knows no process.
  @moduledoc false

  alias Kantoku.Degradation.Reading
  alias Kantoku.Options

  @marks "three rising numbers above 0"

  @schema [
    period: [kind: :positive, default: 1_000, doc: "ms between two looks."],
    readings: [
      kind: :positive,
      default: 2,
      doc: "so many looks in a row have to say the same before a level is entered or left."
    ],
    max_level: [
      kind: {:one_of, [0, 1, 2, 3]},
      default: 3,
      doc: "the highest level that it goes to; 0: nothing is ever shed."
    ],
    memory: [
      kind: {:like, @marks, &__MODULE__.marks?/1},
      default: [70, 80, 90],
      doc: "percent of memory at which the three levels are entered."
    ],
    run_queue: [
      kind: {:like, @marks, &__MODULE__.marks?/1},
      default: [2, 4, 8],
      doc: "processes that wait for each scheduler, likewise."
    ],
    reading: [
      kind: {:like, "a function without arguments", &__MODULE__.reading?/1},
      default: &Reading.now/0,
      doc:
        "how it looks: `%{memory: {used, limit, source}, run_queue: per_scheduler}`, with `:unknown` for what it does not know. It must " <>
          "not wait."
    ]
  ]

  @enforce_keys Keyword.keys(@schema)
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          period: pos_integer,
          readings: pos_integer,
          max_level: Kantoku.Degradation.level(),
          memory: [number, ...],
          run_queue: [number, ...],
          reading: (() -> Reading.t())
        }

  @doc "Checks the option `:degradation` of an instance; `nil` where that is `false`. Raises `ArgumentError` on a bad one."
  @spec new!(keyword | false) :: t | nil
  def new!(false), do: nil
  def new!(opts), do: struct!(__MODULE__, Options.validate!(opts, @schema, "Kantoku, option :degradation"))

  @doc "Changes some of the options; raises `ArgumentError` on a bad one."
  @spec change!(t, keyword) :: t
  def change!(config, changes),
    do: struct!(config, Options.validate_given!(changes, @schema, "Kantoku.Degradation.configure/2"))

  @doc false
  def marks?([one, two, three] = marks), do: Enum.all?(marks, &is_number/1) and 0 < one and one < two and two < three
  def marks?(_other), do: false

  @doc false
  def reading?(reading), do: is_function(reading, 0)

  @doc "The schema of the options."
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
