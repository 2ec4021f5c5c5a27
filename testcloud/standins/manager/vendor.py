"""The units of the machine image: Amazon Linux 2023 for ECS.

ecs.service: github.com/aws/amazon-ecs-init, packaging/generic-rpm-integrated/ecs.service: it is
enabled, and needs docker, which is not. cloud-final.service: github.com/canonical/cloud-init,
systemd/cloud-final.service.tmpl; it is what runs the user-data. docker.service: moby, contrib/init/
systemd. "The systemd units for both Amazon ECS and Docker services have a directive to wait for
cloud-init to finish" (docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-install) was
not seen in that file; `late_docker` is for the case that it is true.
"""

TARGETS = (
    "sysinit.target",
    "basic.target",
    "network.target",
    "network-online.target",
    "time-sync.target",
    "sockets.target",
    "timers.target",
    "cloud-init.target",
    "multi-user.target",
    "default.target",
    "shutdown.target",
    "poweroff.target",
    "reboot.target",
    "final.target",
)
# What the targets want without a link in /etc.
WANTED = {
    "multi-user.target": {"ecs.service"},
    "cloud-init.target": {"cloud-final.service"},
    "sockets.target": {"docker.socket"},
}
USER_DATA, DOCKER = "cloud-final.service", "docker.service"
_CLOUD_FINAL = """[Unit]
Description=Execute cloud user/final scripts
After=network-online.target time-sync.target cloud-config.service rc-local.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/bin/cloud-init modules --mode=final
RemainAfterExit=yes
TimeoutSec=0
KillMode=process

[Install]
WantedBy=cloud-init.target
"""
_DOCKER = """[Unit]
Description=Docker Application Container Engine
After=network-online.target docker.socket{late}
Wants=network-online.target

[Service]
Type=notify
ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""
_SOCKET = """[Unit]
Description=Docker Socket for the API

[Socket]
ListenStream=/var/run/docker.sock

[Install]
WantedBy=sockets.target
"""
_ECS = """[Unit]
Description=Amazon Elastic Container Service - container agent
Requires=docker.service
After=docker.service cloud-final.service

[Service]
Type=simple
Restart=on-failure
RestartSec=10s
ExecStart=/usr/libexec/amazon-ecs-init start

[Install]
WantedBy=multi-user.target
"""


def units(*, late_docker: bool) -> dict[str, str]:
    """Return the text of each unit of the image."""
    late = " cloud-final.service" if late_docker else ""
    return {
        USER_DATA: _CLOUD_FINAL,
        DOCKER: _DOCKER.format(late=late),
        "docker.socket": _SOCKET,
        "ecs.service": _ECS,
    }
