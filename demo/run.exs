# The main job: `mix run demo/run.exs -- [DIR] [--agents N] [--kill-rate R] [--seconds S] [--engine native|elixir] [--json]`.

Code.require_file("load.exs", __DIR__)
Demo.Console.main(System.argv())
