BEGIN TRANSACTION;
CREATE TABLE artifact (
    scene TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, frames INTEGER NOT NULL,
    scenario TEXT NOT NULL, warnings TEXT NOT NULL, superseded INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "artifact" VALUES('a','36c96198c986bfb0d1d7fc24e412ed1a013079e2023d6b2f8c622cf37afe4c24','/home/user/outaws/batch_20261125_075915/a.mp4',759048,'e7c9a919be205500dfd2a62ddcda8bbbc283c30bd8d7738ac994735dc03bed4d',7.0,1920,1080,210,'baseline','[]',0);
INSERT INTO "artifact" VALUES('b','40d279abcaf48dffcaba70c197725baf66022a5c68d536776c0880a990d4642a','/home/user/outaws/batch_20261125_075915/b.mp4',2048265,'9759c10076ef35e25d6ecba001d0e84a13512eb6562e1722e22a70dc3e97964d',6.73333333333333339254e+00,1920,1080,202,'effects_only','[]',0);
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, scene TEXT NOT NULL, worker TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    began REAL NOT NULL, rendered REAL, ended REAL, error TEXT
);
INSERT INTO "attempt" VALUES(1,1,'b','b02','40d279abcaf48dffcaba70c197725baf66022a5c68d536776c0880a990d4642a',4.97329312700003356439e+00,7.92371107600001778337e+00,8.39426387599996814969e+00,NULL);
INSERT INTO "attempt" VALUES(2,1,'a','b02','36c96198c986bfb0d1d7fc24e412ed1a013079e2023d6b2f8c622cf37afe4c24',4.97433936300012646825e+00,7.14763585099990450544e+00,7.53143563999992693425e+00,NULL);
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
INSERT INTO "launch" VALUES(1,1,'b02','b02','20261125-075915-9b2f78-b02','c5.2xlarge','on-demand','us-east-1','us-east-1a',0.34,'AWS price list of 2026-11-25',1.7955935563163816929e+09,1.79559535693858098983e+09,'i-95bb5daddff162890','http://127.55.182.107:5000',4,'gone',2,'[{"phase": "up", "start": 1.2232304310000472, "end": 4.909588374000123}, {"phase": "health", "start": 4.9347385370001575, "end": 4.971910341000239}, {"phase": "drive", "start": 4.973186321999947, "end": 8.395044248999966}, {"phase": "destroy", "start": 8.39627598800007, "end": 9.526392091000162}]',1,NULL,NULL);
INSERT INTO "launch" VALUES(2,1,'b01','b01','20261125-075915-9b2f78-b01','c5.2xlarge','on-demand','us-east-1','us-east-1a',0.34,'AWS price list of 2026-11-25',1.79559355631681180002e+09,1.79559535694891190529e+09,'i-b0ef92461319fd017','http://127.48.221.223:5000',4,'gone',0,'[{"phase": "up", "start": 1.2219305610001356, "end": 5.086796208000123}, {"phase": "destroy", "start": 5.101847804000045, "end": 6.798290535999968}]',1,NULL,NULL);
CREATE TABLE rental (
    machine TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL NOT NULL, price_source TEXT NOT NULL, basis TEXT NOT NULL,
    since REAL NOT NULL, until REAL, expires REAL NOT NULL,
    disk_gb INTEGER NOT NULL, disk_rate REAL NOT NULL, disk_basis TEXT NOT NULL,
    surplus REAL NOT NULL,
    PRIMARY KEY (machine, stack)
);
INSERT INTO "rental" VALUES('i-b0ef92461319fd017','20261125-075915-9b2f78-b01','c5.2xlarge','on-demand','us-east-1','us-east-1a',0.34,'AWS price list of 2026-11-25','list price',1795593558.0,1.79559356189378666879e+09,1.79559535694891190529e+09,30,1.09589041095890413982e-04,'list price',0.0);
INSERT INTO "rental" VALUES('i-95bb5daddff162890','20261125-075915-9b2f78-b02','c5.2xlarge','on-demand','us-east-1','us-east-1a',0.34,'AWS price list of 2026-11-25','list price',1795593558.0,1.79559356462092089656e+09,1.79559535693858098983e+09,30,1.09589041095890413982e-04,'list price',0.0);
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "run" VALUES('run','20261125-075915-9b2f78');
INSERT INTO "run" VALUES('job','two');
INSERT INTO "run" VALUES('source','/home/user/two.yaml');
INSERT INTO "run" VALUES('target','aws');
INSERT INTO "run" VALUES('folder','/home/user/outaws/batch_20261125_075915');
INSERT INTO "run" VALUES('began','2026-11-25T07:59:15+00:00');
INSERT INTO "run" VALUES('max_cost_usd','');
INSERT INTO "run" VALUES('scenes','[["a", 7.008], ["b", 6.744]]');
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL,
    began REAL NOT NULL, seconds REAL NOT NULL DEFAULT 0, outcome TEXT
);
INSERT INTO "session" VALUES(1,9316,1795593554.58,'laptop',1.79559355630907058719e+09,9.53516245700029685394e+00,'complete');
COMMIT;
