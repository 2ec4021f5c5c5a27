BEGIN TRANSACTION;
CREATE TABLE artifact (
    scene TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, frames INTEGER NOT NULL,
    scenario TEXT NOT NULL, warnings TEXT NOT NULL, superseded INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "artifact" VALUES('a','0116bd4183332e2fc953926ebafb8624e1cd7cfae8193293d250d510db2163fe','/home/user/out2/batch_20261125_075908/a.mp4',759048,'e7c9a919be205500dfd2a62ddcda8bbbc283c30bd8d7738ac994735dc03bed4d',7.0,1920,1080,210,'baseline','[]',0);
INSERT INTO "artifact" VALUES('b','b9fe47b2201dcf4bc183a6b245efcafcb058cb80626b25adf30bc87978dd8569','/home/user/out2/batch_20261125_075908/b.mp4',2048265,'9759c10076ef35e25d6ecba001d0e84a13512eb6562e1722e22a70dc3e97964d',6.73333333333333339254e+00,1920,1080,202,'effects_only','[]',0);
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, scene TEXT NOT NULL, worker TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    began REAL NOT NULL, rendered REAL, ended REAL, error TEXT
);
INSERT INTO "attempt" VALUES(1,1,'b','b02','b9fe47b2201dcf4bc183a6b245efcafcb058cb80626b25adf30bc87978dd8569',1.69730224700015241978e+00,4.09806336800011195009e+00,4.56019955400006438139e+00,NULL);
INSERT INTO "attempt" VALUES(2,1,'a','b01','0116bd4183332e2fc953926ebafb8624e1cd7cfae8193293d250d510db2163fe',1.70620699099981720792e+00,2.6463444010000785056e+00,3.03626770700020642834e+00,NULL);
CREATE TABLE launch (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, batch TEXT NOT NULL, label TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL, price_source TEXT,
    began REAL NOT NULL, expires REAL,
    worker TEXT, endpoint TEXT, room INTEGER NOT NULL,
    state TEXT NOT NULL, scenes_done INTEGER NOT NULL DEFAULT 0,
    spans TEXT NOT NULL DEFAULT '[]', destroyed INTEGER NOT NULL DEFAULT 0,
    code TEXT, error TEXT
);
INSERT INTO "launch" VALUES(1,1,'b01','b01','20261125-075908-0c35b6-b01','process','on-demand','local','local',NULL,NULL,1.79559354831360244754e+09,NULL,'8958@1795593548.84','http://127.0.0.1:42047',1,'gone',1,'[{"phase": "up", "start": 0.015355993999946804, "end": 1.6653101279998737}, {"phase": "health", "start": 1.6673886939997828, "end": 1.7016242009999587}, {"phase": "drive", "start": 1.7061211410000396, "end": 3.037704726999891}, {"phase": "destroy", "start": 3.0392126000001554, "end": 4.210797285999888}]',1,NULL,NULL);
INSERT INTO "launch" VALUES(2,1,'b02','b02','20261125-075908-0c35b6-b02','process','on-demand','local','local',NULL,NULL,1.79559354831406712531e+09,NULL,'8951@1795593548.80','http://127.0.0.1:35277',1,'destroying',0,'[{"phase": "up", "start": 0.014542080999945028, "end": 1.647994517999905}, {"phase": "health", "start": 1.657635523999943, "end": 1.695706545000121}, {"phase": "drive", "start": 1.69711911100012, "end": 4.561955373999808}]',0,NULL,NULL);
CREATE TABLE rental (
    machine TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL NOT NULL, price_source TEXT NOT NULL, basis TEXT NOT NULL,
    since REAL NOT NULL, until REAL, expires REAL NOT NULL,
    disk_gb INTEGER NOT NULL, disk_rate REAL NOT NULL, disk_basis TEXT NOT NULL,
    surplus REAL NOT NULL,
    PRIMARY KEY (machine, stack)
);
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "run" VALUES('run','20261125-075908-0c35b6');
INSERT INTO "run" VALUES('job','two');
INSERT INTO "run" VALUES('source','/home/user/two.yaml');
INSERT INTO "run" VALUES('target','local');
INSERT INTO "run" VALUES('folder','/home/user/out2/batch_20261125_075908');
INSERT INTO "run" VALUES('began','2026-11-25T07:59:08+00:00');
INSERT INTO "run" VALUES('max_cost_usd','');
INSERT INTO "run" VALUES('scenes','[["a", 7.008], ["b", 6.744]]');
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL,
    began REAL NOT NULL, seconds REAL NOT NULL DEFAULT 0, outcome TEXT
);
INSERT INTO "session" VALUES(1,8902,1795593547.78,'laptop',1.795593548312432766e+09,4.56211514699998588184e+00,NULL);
COMMIT;
