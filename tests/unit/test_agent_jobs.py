"""The worker agent's jobs, downloads, logs and bundles."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.agents import KEY, AgentProcess
from tests.support.clouds import until

Start = Callable[..., AgentProcess]
OURS = {"container": {"health": {"capacity": 2, "version": "1.2"}}}
VIDEO = bytes(range(256)) * 4096


@pytest.fixture
def start_agent(start_agent: Start) -> Start:
    """Start an agent and wait until it is ready."""

    def start(
        orders: dict[str, Any] | None = None, state: str = "ready", **more: Any
    ) -> AgentProcess:
        agent = start_agent(orders, **more)
        agent.until(state)
        return agent

    return start


def begun(agent: AgentProcess, what: str = "begins") -> list[str]:
    return [note["job"] for note in agent.notes() if note["what"] == what]


def test_a_job_is_accepted_at_once_and_waited_for(start_agent: Start) -> None:
    agent = start_agent(OURS)
    began = time.monotonic()
    job = agent.submit(name="a", sleep=3)
    assert agent.ask("GET", f"/jobs/{job}")[1]["state"] in ("queued", "rendering")
    assert agent.ask("GET", f"/jobs/{job}?wait=0.2")[1] == {"id": job, "state": "rendering"}
    assert agent.health()["running"] == 1
    assert agent.result(job) == {
        "id": job,
        "state": "done",
        "status": 200,
        "response": {"success": True, "download_endpoint": "/download/1/download/1"},
    }
    assert time.monotonic() - began >= 3
    assert agent.result(job)["status"] == 200, "it can be asked for again"
    [left] = (agent.folder / "var/lib/cloudburst/jobs").iterdir()
    assert left.suffix == ".json", "what became of it, but not its request"


def test_what_the_container_answers_comes_through(start_agent: Start) -> None:
    agent = start_agent(OURS)
    for status, say in ((400, {"error": "bad"}), (422, {"error": "x"}), (500, ["odd"])):
        said = agent.result(agent.submit(name="a", status=status, say=say))
        assert (said["status"], said["response"]) == (status, say)


@pytest.mark.parametrize("room", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_no_more_scenes_at_once_than_there_are_containers(start_agent: Start, room: int) -> None:
    agent = start_agent(room=room)
    jobs = [agent.submit(name=str(number), sleep=0.4) for number in range(4)]
    assert agent.health()["queued"] >= 4 - room - 1
    assert [agent.result(job)["status"] for job in jobs] == [200] * 4
    busy: dict[int, str | None] = {}
    for note in agent.notes():
        if note["what"] == "begins":
            assert busy.get(note["port"]) is None, "one scene at a time in each"
            busy[note["port"]] = note["job"]
        elif note["what"] == "ends":
            busy[note["port"]] = None
    assert len(busy) == room


@pytest.mark.slow
def test_a_capacity_is_used_up_by_one_container(start_agent: Start) -> None:
    agent = start_agent(OURS)
    jobs = [agent.submit(name=str(number), sleep=1) for number in range(3)]
    until(lambda: len(begun(agent)) == 2)
    assert (agent.health()["running"], agent.health()["queued"]) == (2, 1)
    for job in jobs:
        agent.result(job)


def test_a_job_that_is_sent_twice_is_rendered_once(start_agent: Start) -> None:
    agent = start_agent(OURS)
    for _ in range(2):
        status, said, _ = agent.ask("POST", "/jobs?id=mine", {"name": "a", "sleep": 0.5})
        assert (status, said) == (202, {"id": "mine"})
    agent.result("mine")
    assert begun(agent) == ["a"]
    assert agent.ask("POST", "/jobs?id=../x", {"name": "a"})[0] == 400


def test_a_cancelled_job_ends_in_a_container_that_cancels(start_agent: Start) -> None:
    agent = start_agent(OURS)
    job = agent.submit(name="a", sleep=600)
    until(lambda: begun(agent))
    assert agent.ask("DELETE", f"/jobs/{job}")[1] == {"id": job, "state": "done"}
    assert agent.result(job)["status"] == 499
    until(lambda: begun(agent, "cancelled") == ["a"])
    assert len([note for note in agent.notes() if note["what"] == "starts"]) == 1
    assert agent.result(agent.submit(name="b"))["status"] == 200


def test_a_container_that_does_not_cancel_is_started_anew(start_agent: Start) -> None:
    agent = start_agent(room=1)
    job, waiting = agent.submit(name="a", sleep=600), agent.submit(name="b")
    until(lambda: begun(agent))
    assert agent.ask("DELETE", f"/jobs/{job}")[1]["state"] == "done"
    assert agent.result(job)["status"] == 499
    assert agent.result(waiting)["status"] == 200
    assert len([note for note in agent.notes() if note["what"] == "starts"]) == 2
    assert begun(agent, "ends") == ["b"], "the render has really ended"


def test_a_job_that_waits_is_cancelled_without_being_begun(start_agent: Start) -> None:
    agent = start_agent(room=1)
    first, second = agent.submit(name="a", sleep=1), agent.submit(name="b")
    assert agent.ask("DELETE", f"/jobs/{second}")[0] == 200
    assert agent.result(second)["status"] == 499
    assert agent.result(first)["status"] == 200
    assert begun(agent) == ["a"]
    assert agent.ask("DELETE", "/jobs/unknown")[0] == 404
    assert agent.ask("GET", "/jobs/unknown")[0] == 404


def test_a_container_that_dies_is_told_and_used_again(start_agent: Start) -> None:
    agent = start_agent(OURS)
    said = agent.result(agent.submit(name="a", die=True))
    assert said["status"] == 502
    assert said["response"]["error"].startswith("video-api-1 broke off: ")
    assert agent.result(agent.submit(name="b"))["status"] == 200
    assert agent.health()["capacity"] == 2


@pytest.mark.parametrize("raw", ["<html>", "[" * 5000], ids=["not JSON", "nested too deeply"])
def test_an_answer_that_cannot_be_read_is_told(start_agent: Start, raw: str) -> None:
    agent = start_agent(OURS)
    said = agent.result(agent.submit(name="a", raw=raw))
    assert said["status"] == 502
    assert said["response"]["error"].startswith("video-api-1 broke off: ")
    assert agent.result(agent.submit(name="b"))["status"] == 200


def test_a_container_that_is_gone_for_good_fails_the_machine(start_agent: Start) -> None:
    agent = start_agent(room=1, restart_wait=1)
    agent.order({"run": {"fail": "no space left on device"}, "container": {"exits": "gone"}})
    os.kill(agent.container()["supervisor"], signal.SIGKILL)
    assert agent.result(agent.submit(name="a", die=True))["status"] == 502
    failed = agent.until("failed")
    assert (failed["code"], failed["reason"]) == ("disk_full", "no space left on device")
    assert agent.ask("POST", "/jobs", {"name": "b"})[0] == 503


@pytest.mark.slow
def test_jobs_are_bounded_and_the_oldest_results_give_way(start_agent: Start) -> None:
    agent = start_agent(room=1)
    finished = agent.submit(name="first")
    agent.result(finished)
    jobs = [agent.submit(name=str(number), sleep=600) for number in range(64)]
    status, said, headers = agent.ask("POST", "/jobs", {"name": "one too many"})
    assert (status, said, headers["Retry-After"]) == (429, {"error": "too many jobs"}, "5")
    assert agent.ask("GET", f"/jobs/{finished}")[0] == 404
    assert agent.ask("DELETE", f"/jobs/{jobs[-1]}")[0] == 200
    assert agent.ask("POST", "/jobs", {"name": "now"})[0] == 202


def restart(agent: AgentProcess) -> None:
    agent.kill()
    agent.start()


def test_what_was_rendered_is_known_to_an_agent_that_was_killed(start_agent: Start) -> None:
    agent = start_agent(OURS)
    job = agent.submit(name="a")
    before = agent.result(job)
    restart(agent)
    agent.until("booting", "starting", "ready")
    assert agent.result(job) == before, "whatever its state"
    assert agent.ask("GET", before["response"]["download_endpoint"])[1] == VIDEO
    assert begun(agent) == ["a"]


def test_what_was_not_is_rendered_without_being_sent_again(start_agent: Start) -> None:
    agent = start_agent(OURS)
    first = [agent.submit(name=name, sleep=2) for name in ("a", "b")]
    until(lambda: len(begun(agent)) == 2)
    waiting = agent.submit(name="c")
    restart(agent)
    agent.until("ready")
    assert [agent.result(job)["status"] for job in (*first, waiting)] == [200] * 3
    assert sorted(begun(agent)) == ["a", "a", "b", "b", "c"]
    assert sorted(begun(agent, "ends")) == ["a", "b", "c"]
    assert len([note for note in agent.notes() if note["what"] == "starts"]) == 1
    left = (agent.folder / "var/lib/cloudburst/jobs").iterdir()
    assert {path.suffix for path in left} == {".json"}, "no request stays on the disk"


@pytest.mark.slow
def test_of_two_containers_that_go_on_the_idle_one_keeps_its_videos(start_agent: Start) -> None:
    agent = start_agent(room=2)
    jobs = [agent.submit(name=str(number), sleep=0.5) for number in range(2)]
    done = [agent.result(job)["response"]["download_endpoint"] for job in jobs]
    assert sorted(done) == ["/download/1/download/1", "/download/2/download/1"]
    lost = agent.submit(name="lost", sleep=4)
    until(lambda: "lost" in begun(agent))
    containers = [agent.container(number)["pid"] for number in (1, 2)]
    restart(agent)
    agent.until("ready")
    now = [agent.container(number)["pid"] for number in (1, 2)]
    assert len({*containers} & {*now}) == 1, "only the one that rendered is started anew"
    assert agent.result(lost)["status"] == 200
    assert begun(agent, "ends").count("lost") == 1


def test_a_record_that_was_cut_short_loses_that_job_alone(start_agent: Start) -> None:
    agent = start_agent(OURS)
    jobs = [agent.submit(name=name) for name in ("a", "b")]
    for job in jobs:
        agent.result(job)
    (agent.folder / "var/lib/cloudburst/jobs" / f"{jobs[0]}.json").write_text("[1, 2")
    restart(agent)
    agent.until("ready")
    assert agent.ask("GET", f"/jobs/{jobs[0]}")[0] == 404
    assert agent.result(jobs[1])["status"] == 200


def test_all_jobs_of_an_earlier_session_are_ended_at_once(start_agent: Start) -> None:
    agent = start_agent(OURS)
    jobs = [agent.submit(name=name, sleep=600) for name in ("a", "b", "c")]
    until(lambda: len(begun(agent)) == 2)
    assert agent.ask("DELETE", "/jobs")[0] == 200
    assert [agent.result(job)["status"] for job in jobs] == [499] * 3
    assert agent.result(agent.submit(name="d"))["status"] == 200
    until(lambda: sorted(begun(agent, "cancelled")) == ["a", "b"])


# -- downloads ----------------------------------------------------------------------------------


def test_a_video_comes_from_the_container_that_has_it(start_agent: Start) -> None:
    agent = start_agent(room=2)
    jobs = [agent.submit(name=str(number), sleep=0.5) for number in range(2)]
    endpoints = {agent.result(job)["response"]["download_endpoint"] for job in jobs}
    assert endpoints == {"/download/1/download/1", "/download/2/download/1"}
    for endpoint in endpoints:
        status, video, headers = agent.ask("GET", endpoint)
        assert (status, video == VIDEO, headers["Content-Type"]) == (200, True, "video/mp4")


def test_a_download_goes_on_where_it_broke_off(start_agent: Start) -> None:
    agent = start_agent(OURS)
    agent.result(agent.submit(name="a"))
    endpoint = "/download/1/download/1"
    status, video, headers = agent.ask("GET", endpoint, Range="bytes=1000-")
    assert (status, video == VIDEO[1000:]) == (206, True)
    assert headers["Content-Range"] == f"bytes 1000-{len(VIDEO) - 1}/{len(VIDEO)}"
    status, video, headers = agent.ask("HEAD", endpoint)
    assert (status, video, headers["Content-Length"]) == (200, b"", str(len(VIDEO)))
    assert agent.ask("GET", "/download/1/download/2")[:2] == (404, {"error": "File not found"})


@pytest.mark.slow
def test_bytes_on_their_way_are_signs_of_life(start_agent: Start) -> None:
    agent = start_agent(OURS, lease=3)
    body = json.dumps({"name": "slow"}).encode().rjust(50)
    head = f"POST /jobs HTTP/1.1\r\nX-Authentication-Key: {KEY}\r\nContent-Length: 50\r\n\r\n"
    with agent.connect() as tls:
        tls.sendall(head.encode())
        for byte in body:
            tls.sendall(bytes([byte]))
            time.sleep(0.1)
        assert tls.recv(1024).split()[1] == b"202"
    assert ["poweroff"] not in agent.calls("systemctl")


# -- logs ---------------------------------------------------------------------------------------


def test_logs_are_those_of_the_boot_and_of_the_containers(start_agent: Start) -> None:
    logs = start_agent(OURS).ask("GET", "/logs")[1]
    assert "pulling: me/mine:1" in logs["boot"]
    assert "ready: 2 at once" in logs["boot"]
    assert logs["container"] == "== video-api-1\nthe video API listens\n"


@pytest.mark.slow
def test_logs_are_bounded(start_agent: Start) -> None:
    agent = start_agent(OURS)
    for path in (agent.folder / "boot.log", agent.log_file()):
        path.write_text(f"{'line' * 25}\n" * 5_000)
    logs = agent.ask("GET", "/logs")[1]
    assert [len(text) for text in logs.values()] == [64 * 1024] * 2


@pytest.mark.slow
def test_the_log_of_a_container_that_failed_is_there(start_agent: Start) -> None:
    agent = start_agent({"container": {"exits": "ImportError: cv2"}}, "failed")
    assert "ImportError: cv2" in agent.ask("GET", "/logs")[1]["container"]


# -- bundles ------------------------------------------------------------------------------------


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_bundle_is_waited_for_checked_and_run(start_agent: Start) -> None:
    agent = start_agent(
        OURS, "waiting", bundle=True, name="bundled", command=["python", "/bundle/a.zip"]
    )
    files = {"a.zip": b"zip" * 100_000, "requirements.lock": b"flask"}
    for name, content in files.items():
        status, said, _ = agent.ask("PUT", f"/bundle/{name}", content)
        assert (status, said) == (200, {"sha256": digest(content)})
    digests = {name: digest(content) for name, content in files.items()}
    wrong = digests | {"a.zip": digest(b""), "missing": digest(b"")}
    status, said, _ = agent.ask("POST", "/bundle", {"files": wrong})
    assert (status, said) == (409, {"wrong": ["a.zip", "missing"]})
    assert agent.health()["state"] == "waiting"
    assert agent.ask("POST", "/bundle", {"files": digests})[0] == 202
    ready = agent.until("ready")
    assert ready["image"] == "bundled"
    (run,) = [call for call in agent.calls() if call[0] == "run"]
    folder = agent.folder / "var/lib/cloudburst/bundle"
    assert run[run.index("--volume") + 1] == f"{folder}:/bundle:ro"
    assert run[-3:] == ["me/mine:1", "python", "/bundle/a.zip"]
    assert (folder / "a.zip").read_bytes() == files["a.zip"]


@pytest.mark.slow
def test_a_bundle_may_come_while_the_image_is_pulled(start_agent: Start) -> None:
    orders = {**OURS, "pull": {"sleep": 2}}
    agent = start_agent(orders, "pulling", bundle=True)
    agent.ask("PUT", "/bundle/a.zip", b"zip")
    assert agent.ask("POST", "/bundle", {"files": {"a.zip": digest(b"zip")}})[0] == 202
    assert agent.until("ready")["capacity"] == 2


@pytest.mark.slow
def test_a_bundle_that_ends_again_and_again_is_told(start_agent: Start) -> None:
    agent = start_agent({"container": {"exits": "hash mismatch"}}, "waiting", bundle=True)
    agent.ask("PUT", "/bundle/a.zip", b"zip")
    agent.ask("POST", "/bundle", {"files": {"a.zip": digest(b"zip")}})
    failed = agent.until("failed")
    assert failed["code"] == "bundle_failed"
    assert failed["reason"].endswith("hash mismatch")


@pytest.mark.slow
def test_an_agent_that_is_killed_knows_its_bundle(start_agent: Start) -> None:
    agent = start_agent({"container": {}}, "waiting", bundle=True, room=1)
    agent.ask("PUT", "/bundle/a.zip", b"zip")
    agent.ask("POST", "/bundle", {"files": {"a.zip": digest(b"zip")}})
    agent.until("ready")
    agent.kill()
    agent.start()
    agent.until("ready")


def test_files_of_a_bundle_have_plain_names(start_agent: Start) -> None:
    agent = start_agent(OURS, "waiting", bundle=True)
    for name in ("../x", "a/b", ".hidden", "", "a" * 201, "%2e%2e%2fx", "a%20b", "-x"):
        assert agent.ask("PUT", f"/bundle/{name}", b"x")[0] == 404
        for files in ({}, {name: digest(b"x")}, [], "x", None):
            assert agent.ask("POST", "/bundle", {"files": files})[0] in (400, 409)
    assert agent.ask("POST", "/bundle", b"no JSON")[0] == 400
