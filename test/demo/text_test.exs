Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.TextTest do
  use ExUnit.Case, async: true

  alias Demo.{Decode, Histogram, Json, Options, Reference, Tally, Walk}

  describe "a walk" do
    @describetag :tmp_dir

    test "finds all files below a folder, in order, and follows no link", %{tmp_dir: dir} do
      for path <- ["b/c/two", "a/one", "three"], do: write(dir, path, "x")
      File.ln_s!(dir, Path.join(dir, "round"))
      assert {:ok, walk} = Walk.below(dir)
      assert walk.files == Enum.map(["a/one", "b/c/two", "three"], &Path.join(dir, &1))
      assert {walk.bytes, walk.links, walk.special, walk.closed} == {3, 1, 0, 0}
    end

    test "passes over folders by name", %{tmp_dir: dir} do
      for path <- ["_build/made", "a/_build/made", "a/kept"], do: write(dir, path, "x")
      assert {:ok, %{files: [kept]}} = Walk.below(dir, ["_build"])
      assert Path.basename(kept) == "kept"
    end

    test "takes names that are not UTF-8", %{tmp_dir: dir} do
      path = dir <> "/" <> <<"caf", 0xE9>>
      :ok = :file.write_file(path, "x")
      assert {:ok, %{files: [^path]}} = Walk.below(dir)
      assert Decode.file(path) == {:ok, ["x"]}
    end

    test "says why a folder cannot be walked", %{tmp_dir: dir} do
      write(dir, "file", "x")
      assert {:error, sentence} = Walk.below(Path.join(dir, "file"))
      assert sentence =~ "file is no folder"
      assert {:error, sentence} = Walk.below(Path.join(dir, "none"))
      assert sentence =~ "none cannot be read: no such file"
    end
  end

  describe "decoding" do
    test "unpacks gzip, also of several members" do
      assert Decode.parts(:zlib.gzip("one ") <> :zlib.gzip("two")) == {:ok, ["one two"]}
    end

    test "tells damaged, cut and oversized archives apart from text" do
      packed = :zlib.gzip(String.duplicate("some text ", 1_000))
      assert Decode.parts(binary_part(packed, 0, byte_size(packed) - 20)) == {:skip, :damaged}
      assert Decode.parts(<<0x1F, 0x8B, "no archive">>) == {:skip, :damaged}
      assert Decode.parts(:zlib.gzip(:binary.copy("a", 17 * 1024 * 1024))) == {:skip, :too_large}
    end

    test "tells binary files, packed or not" do
      assert Decode.parts(<<0x7F, "ELF", 0, 1>>) == {:skip, :binary}
      assert Decode.parts(:zlib.gzip(<<1, 0>>)) == {:skip, :binary}
    end

    test "takes what is not UTF-8 for Latin-1" do
      assert Decode.parts(<<"caf", 0xE9>>) == {:ok, ["café"]}
      assert Decode.parts("café") == {:ok, ["café"]}
    end

    test "cuts between words where it can, and loses nothing" do
      text = Enum.map_join(1..40_000, " ", &"word#{&1}")
      assert {:ok, [first, second | _] = parts} = Decode.parts(text)
      assert Enum.join(parts) == text
      assert String.ends_with?(first, " ") and not String.starts_with?(second, " ")
      assert Enum.all?(parts, &(byte_size(&1) <= 65_536))

      unbroken = :binary.copy("a", 200_000)
      assert {:ok, parts} = Decode.parts(unbroken)
      assert Enum.join(parts) == unbroken
    end

    test "an empty file has no parts, one that is gone is unreadable" do
      assert Decode.parts("") == {:ok, []}
      assert Decode.file("/no/such/file") == {:skip, :unreadable}
      assert Decode.file("/") == {:skip, :unreadable}
    end
  end

  describe "a tally" do
    test "counts terms without regard to case, and figures" do
      tally = Tally.of("The 2 cats, THE 40 Dogs: café, ab, x_the")
      assert tally.terms == %{"the" => 3, "cats" => 1, "dogs" => 1, "café" => 1}
      assert tally.figures == {2, 42, 40}
    end

    test "leaves out what is too long to be a term or a figure" do
      assert Tally.of(String.duplicate("a", 33) <> " 1234567890123456") == %Tally{}
      assert Tally.of("123456789012345").figures == {1, 123_456_789_012_345, 123_456_789_012_345}
    end

    test "keeps none of the text alive" do
      text = "word " <> :binary.copy(".", 60_000)
      for {term, _count} <- Tally.of(text).terms, do: assert(:binary.referenced_byte_size(term) <= 64)
    end

    test "of several texts is the same in whatever order they are merged" do
      tallies = Enum.map(["one two 3", "two three 4", "three 5 one"], &Tally.of/1)
      merged = Enum.reduce(tallies, %Tally{}, &Tally.merge/2)
      assert merged == tallies |> Enum.reverse() |> Enum.reduce(%Tally{}, &Tally.merge/2)
      assert Tally.times(merged, 2) == Tally.merge(merged, merged)
    end

    test "says how much it lacks and has too much of" do
      should = Tally.of("one two two 3")
      assert Tally.compare(should, should) == {0, 0}
      assert Tally.compare(Tally.of("one two"), should) == {2, 0}
      assert Tally.compare(Tally.of("one one two two 3 4"), should) == {0, 2}
    end
  end

  @tag :tmp_dir
  test "the plain computation counts the fate of every file", %{tmp_dir: dir} do
    write(dir, "text", "one 1")
    write(dir, "more", :zlib.gzip("one 2"))
    write(dir, "image", <<0>>)
    {:ok, %{files: files}} = Walk.below(dir)
    reference = Reference.run(files ++ [Path.join(dir, "gone")])
    assert reference.outcomes == %{text: 2, binary: 1, unreadable: 1}
    assert reference.tally == %Tally{terms: %{"one" => 2}, figures: {2, 3, 2}}
    assert Reference.times(reference, 3).outcomes == %{text: 6, binary: 3, unreadable: 3}
  end

  test "a histogram's quantiles are right to an eighth" do
    histogram = Histogram.new()
    assert Histogram.quantile(histogram, 0.5) == 0
    for value <- 1..1_000, do: Histogram.record(histogram, value * 100)
    assert_in_delta Histogram.quantile(histogram, 0.5), 50_000, 50_000 / 8
    assert_in_delta Histogram.quantile(histogram, 0.99), 99_000, 99_000 / 8
    Histogram.record(histogram, -5)
    assert Histogram.quantile(histogram, 0.0001) <= 2
  end

  test "JSON holds whatever a file may be called" do
    assert Json.object(a: true, b: 1.5, c: nil, d: "q\"\\\n" <> <<0xE9>>) ==
             ~S({"a":true,"b":1.5,"c":null,"d":"q\"\\\u000A) <> "\uFFFD\"}"
  end

  describe "arguments" do
    test "have defaults" do
      assert {:ok, %Options{dir: nil, agents: 2_000, kill_rate: 20, seconds: 30, engine: :native, surge: false}} =
               Options.parse([])
    end

    test "are taken in any order" do
      argv = ~w(--json /tmp --agents 7 --kill-rate 200 --engine elixir --surge --seconds 2)

      assert {:ok,
              %Options{dir: "/tmp", agents: 7, kill_rate: 200, seconds: 2, engine: :elixir, surge: true, json: true}} =
               Options.parse(argv)
    end

    test "have it serve where it is told to, or nowhere" do
      assert {:ok, %Options{http: 9464}} = Options.parse([])
      assert {:ok, %Options{http: 0}} = Options.parse(~w(--http 0))
      assert {:ok, %Options{http: false}} = Options.parse(~w(--no-http))
      assert {:error, "--http is at most 65535, got 70000"} = Options.parse(~w(--http 70000))
      assert {:error, "--http is at least 0, got -1"} = Options.parse(~w(--http=-1))
    end

    test "that make no sense are refused in a sentence" do
      assert Options.parse(["--agents", "2"]) == {:error, "--agents is at least 3, got 2"}
      assert Options.parse(["--agents", "many"]) == {:error, ~s(--agents takes a whole number, got "many")}
      assert Options.parse(["--fast"]) == {:error, "--fast is not an option here, or lacks its value"}
      assert Options.parse(["--engine", "rust"]) == {:error, ~s(--engine is native or elixir, got "rust")}
      assert {:error, "one folder at a time" <> _} = Options.parse(["a", "b"])
    end
  end

  defp write(dir, path, bytes) do
    path = Path.join(dir, path)
    File.mkdir_p!(Path.dirname(path))
    File.write!(path, bytes)
  end
end
