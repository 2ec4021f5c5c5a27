# shellcheck shell=bash
# The second half of the user-data, which travels compressed: see agent.sh.j2.
# shellcheck disable=SC2154 # root is the first half's
units=$root/etc/systemd/system
# A scheduled shutdown is forgotten by a reboot; this timer is not.
cat > "$units/cloudburst-cap.timer" << END
[Timer]
OnCalendar=$(date -u -d "+$minutes minutes" '+%Y-%m-%d %H:%M:%S UTC')
Persistent=true
AccuracySec=1s
[Install]
WantedBy=timers.target
END
# --no-block: what waits for cloud-init to end must not be waited for by it.
arm() { systemctl enable "$1" && systemctl start --no-block "$1"; }
systemctl daemon-reload
arm cloudburst-cap.timer || say "cloudburst-cap.timer could not be armed"
# Amazon's agent for ECS has nothing to do here, and would start as this script ends.
systemctl mask --now --no-block ecs
arm cloudburst-agent.service || off "the agent cannot be started"
