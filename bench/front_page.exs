# Puts what bench/results say into the README, between its two marks: `elixir bench/front_page.exs`.

root = Path.expand("..", __DIR__)
for file <- ~w(figure front_page), do: Code.require_file("bench/elixir/harness/#{file}.ex", root)

readme = Path.join(root, "README.md")
names = File.read!(Path.join(root, "bench/README.md"))
File.write!(readme, Bench.FrontPage.fill(File.read!(readme), Path.join(root, "bench/results"), names))
