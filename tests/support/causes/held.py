"""The faults that the suite's own tests cause, by their numbers. They are run here; each number is a fault.

A number whose test fails counts as wrong. What a test asserts of an error's words is not counted again.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from processes import ROOT

from causes.base import Came

LIMIT_S = 3600
STALLS, LEASE, COMMAND = "worker/test_stalls.py::", "study/test_lease.py::", "study/test_command_line.py::"
TEXTS, BAD = "study/test_override_texts.py::", "cli/test_bad_input.py::"
ROWS, TRYOUT = "data/test_rows.py::", "training/test_tryout.py::"
REDACTION, DAMAGE = "io/test_redaction.py::", "io/test_damage.py::"
POSTGRES, PLACES, REGRESSION = (
    "study/test_postgres.py::",
    "worker/test_places.py::",
    "tasks/test_regression.py::",
)

# Number and fault: the tests that cause it.
HELD: dict[str, tuple[str, ...]] = {
    # A store stalls
    "01_database_is_locked_past_the_patience": (
        STALLS + "test_past_the_patience_for_mlflow_a_finished_trial_stays_finished_and_the_next_is_handed_back",  # noqa: E501
        STALLS + "test_past_the_patience_for_optuna_the_outcome_is_kept_in_the_folder_and_told_by_the_next_start",  # noqa: E501
        STALLS + "test_an_error_of_a_store_removes_no_checkpoint",
    ),
    "02_postgres_restarts": (POSTGRES + "test_a_restart_is_survived_by_connections_and_locks_from_before",),
    "03_mlflow_hangs_during_recovery": (
        "study/test_study.py::test_a_recovery_talks_to_mlflow_without_the_lock_and_its_claim_is_final",
    ),
    # Who is alive
    "04_another_namespace_with_the_same_host_name": (
        "machine/test_process.py::test_two_pid_namespaces_of_one_host_do_not_see_each_other",
        LEASE + "test_a_live_worker_in_a_container_keeps_its_trial_and_a_dead_one_loses_it_when_its_lease_ends",  # noqa: E501
    ),
    "05_clock_is_set": (LEASE + "test_a_clock_that_is_set_takes_no_trial_and_spends_no_budget",),
    "06_clock_of_a_host_is_wrong": (
        POSTGRES + "test_a_host_whose_clock_is_wrong_neither_loses_nor_takes_a_trial",
    ),
    "07_host_has_another_time_zone": (
        LEASE + "test_budgets_do_not_read_times_that_a_host_of_another_time_zone_wrote",
    ),
    # A project that moves
    "08_project_is_moved": (
        "worker/test_moved.py",
    ),
    "09_jobs_change_the_working_folder": (
        PLACES + "test_a_sweep_whose_jobs_change_the_working_folder_uses_the_same_stores_and_folders",
    ),
    "10_mlflow_database_is_deleted": (
        PLACES + "test_a_database_that_is_deleted_while_a_sweep_runs_ends_it_with_an_error",
    ),
    "11_runs_are_deleted_in_the_ui": (
        PLACES + "test_runs_deleted_in_the_ui_are_restored_and_no_trial_is_orphaned",
    ),
    # Values on their way to a trial
    "12_strings_that_look_like_something_else": (
        COMMAND + "test_a_quoted_choice_arrives_as_the_string_that_it_is",
        TEXTS + "test_what_is_composed_is_what_was_encoded",
        TEXTS + "test_a_string_stays_a_string",
    ),
    "13_intervals_of_whole_numbers": (
        COMMAND + "test_the_type_of_a_key_comes_from_the_schema",
        COMMAND + "test_an_interval_of_a_whole_number_key_that_is_null_by_default",
    ),
    "14_package_or_plus_before_a_key": (
        COMMAND + "test_what_no_trial_could_compose_is_refused_at_the_start",
    ),
    "15_a_key_is_given_twice": (COMMAND + "test_the_last_override_of_a_key_wins",),
    "16_shuffled_choices": ("study/test_space.py::test_grammar_to_distribution",),
    "17_dictionaries_are_swept": (
        COMMAND + "test_a_dictionary_is_merged_as_on_the_command_line_of_one_run",
        COMMAND + "test_a_dictionary_of_the_sweep_is_given_whole",
    ),
    "18_19_what_hydra_refuses": (BAD + "test_a_sweep",),
    "20_first_suggestions": (
        COMMAND + "test_first_suggestions_are_spread_over_the_range",
        COMMAND + "test_a_study_from_before_goes_on_with_its_own_seeds",
    ),
    "21_one_wrong_model_of_several": (
        "worker/test_models.py::test_a_wrong_model_among_several_choices_is_found_at_the_start",
    ),
    # A model or a table that cannot give a right result
    "22_tokenizer_without_files": (TRYOUT + "test_a_tokenizer_without_its_files_is_refused",),
    "23_24_architectures": (
        TRYOUT + "test_models_of_all_kinds_are_trained_and_predict",
        TRYOUT + "test_a_model_without_a_limit_takes_long_rows",
    ),
    "25_more_tokens_than_positions": (
        TRYOUT + "test_as_many_tokens_as_there_are_positions_fit_and_one_more_is_refused",
    ),
    "26_more_tokens_than_embeddings": (TRYOUT + "test_tokens_without_embeddings_get_some",),
    "27_numbers_as_class_names": (ROWS + "test_numbers_are_no_class_names_unless_they_are_listed",),
    "28_empty_cells": (
        ROWS + "test_all_empty_cells_are_counted_at_once_whatever_the_format",
        ROWS + "test_an_optional_title_may_stay_empty",
    ),
    "29_spreadsheet_of_another_language": (ROWS + "test_a_german_spreadsheet_is_read_and_said",),
    "30_columns_without_a_name": (ROWS + "test_only_used_columns_must_have_one_name",),
    "31_half_a_character": (ROWS + "test_half_a_character_is_replaced_and_said",),
    "32_hold_out_of_few_rows": (ROWS + "test_a_hold_out_of_few_rows_of_many_labels",),
    "33_names_of_splits": (ROWS + "test_split_names_of_any_form",),
    "34_class_names_of_a_file": (
        ROWS + "test_class_names_of_a_file_are_the_labels_in_their_order",
        ROWS + "test_one_rule_reads_labels_of_all_formats",
    ),
    "35_numbers_out_of_range": (
        ROWS + "test_numbers_of_every_type",
        REGRESSION + "test_numbers_far_from_one_are_standardized",
    ),
    "36_one_class_to_evaluate": (
        ROWS + "test_what_a_run_is_about_to_train_on_is_shown_without_any_text",
    ),
    "37_hold_out_alone": (
        "data/test_split.py::test_hold_out_selects_and_the_evaluation_split_becomes_final",
    ),
    "38_another_table_under_the_same_name": (
        "study/test_identity.py::test_another_table_under_the_same_name_is_told_by_its_path",
    ),
    "39_label_with_a_tab": (
        ROWS + "test_a_label_that_no_prediction_file_can_hold_is_refused_with_its_place",
    ),
    # Nobody let in, nothing let out
    "40_interpolations_in_a_record": (
        "reproduce/test_records_are_data.py::test_no_interpolation_of_a_record_is_resolved",
    ),
    "41_code_that_comes_with_a_model": (TRYOUT + "test_code_that_comes_with_a_model_is_not_run",),
    "42_a_study_that_can_only_be_read": ("study/test_reading.py",),
    "43_secrets_on_the_command_line": (
        REDACTION + "test_a_secret_argument_becomes_the_name_of_a_variable",
        REDACTION + "test_canaries_of_environment_and_command_line_are_in_no_file",
    ),
    "44_terminal_escapes": ("io/test_terminal.py",),
    "45_passwords_in_pickled_workers": ("worker/test_pickled_worker.py",),
    "46_taken_port": ("cli/test_command.py::test_a_taken_port_is_refused",),
    # One clear error
    "47_damaged_files": (
        DAMAGE + "test_whatever_stands_in_place_of_the_newest_the_one_before_is_used",
        DAMAGE + "test_a_file_is_read_or_unreadable",
        "training/test_resuming.py",
        "reproduce/test_damaged_records.py",
    ),
    "48_manifest_of_nothing": (DAMAGE + "test_no_manifest_but_the_right_one_passes",),
    "49_order_of_checkpoints": (DAMAGE + "test_the_newest_is_the_one_of_the_most_steps",),
    "50_identity_on_the_disk": (
        DAMAGE + "test_the_identity_is_on_the_disk_before_a_checkpoint_is_written",
    ),
    "51_bad_input": (BAD + "test_one_run", BAD + "test_an_unknown_study"),
}  # fmt: skip


def run(names: Sequence[str], folder: Path) -> dict[str, Came]:
    """Causes these faults, all in one run of pytest, as `make test` does."""
    passed = _outcomes(sorted({test for name in names for test in HELD[name]}), folder) if names else {}
    return {name: _came([test for test in HELD[name] if not passed.get(test)]) for name in names}


def _came(failed: list[str]) -> Came:
    return Came(0, None, not failed, f"did not pass: {', '.join(failed)}" if failed else "")


def _outcomes(tests: list[str], folder: Path) -> dict[str, bool]:
    """Tells of each test, and of each file, whether all its cases passed."""
    report = folder / "report.xml"
    options = [
        "-p",
        "no:cacheprovider",
        f"--junit-xml={report}",
        "--numprocesses",
        "2",
        "--dist",
        "loadgroup",
    ]
    with (folder / "pytest.log").open("w") as log:
        command = [sys.executable, "-m", "pytest", *options, *tests]
        subprocess.run(command, cwd=ROOT / "tests", stdout=log, stderr=log, timeout=LIMIT_S)
    passed: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.attrib["classname"].removeprefix("tests.").replace(".", "/") + ".py"
        good = not {"failure", "error", "skipped"} & {child.tag for child in case}
        for name in (file, f"{file}::{case.attrib['name'].partition('[')[0]}"):
            passed[name] = passed.get(name, True) and good
    return passed
