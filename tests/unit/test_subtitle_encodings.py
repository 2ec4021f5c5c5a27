"""Subtitles are read in the encoding that they have, and a guess is told."""

from __future__ import annotations

import pytest

from cloudburst.videoapi.subtitles import SubtitleError, read
from cloudburst.videoapi.subtitles.decode import decode, known_encoding

HEAD = "1\n00:00:00,200 --> 00:00:02,000\n"
TEXTS = [
    ("fr", "cp1252", "Très intéressant, merci", "windows-1252"),
    ("fr long", "cp1252", "L’été dernier, nous étions à la plage. Où êtes-vous allés ?", None),
    ("fr short", "cp1252", "Ça va, père Noël ?", "windows-1252"),
    ("de", "cp1252", "Größe über alles", "windows-1252"),
    ("de short", "cp1252", "Tschüß", None),
    ("es", "cp1252", "¿Qué pasó, señor?", None),
    ("es long", "cp1252", "Mañana iré a la estación. ¿Dónde está el camión?", None),
    ("pt", "cp1252", "Não, obrigado. Até amanhã!", None),
    ("pl", "cp1250", "Zażółć gęślą jaźń", "windows-1250"),
    ("pl long", "cp1250", "Dzień dobry. Nazywam się Łukasz i mieszkam w Łodzi.", None),
    ("cs", "cp1250", "Příliš žluťoučký kůň", None),
    ("hu", "cp1250", "Jó reggelt kívánok! Hogy van? Elmentünk a boltba, később.", None),
    ("ru", "cp1251", "Привет, мир", "windows-1251"),
    ("ru long", "cp1251", "Вчера мы ходили в кино и смотрели новый фильм.", None),
    ("ru koi8", "koi8-r", "Вчера мы ходили в кино и смотрели новый фильм.", None),
    ("ru dos", "cp866", "Вчера мы ходили в кино и смотрели новый фильм.", None),
    ("uk", "cp1251", "Привіт, світе", None),
    ("el", "cp1253", "Γειά σου Κόσμε", "windows-1253"),
    ("tr", "cp1254", "Şişli'de ağaç dikiyoruz", "windows-1254"),
    ("he", "cp1255", "שלום עולם", "windows-1255"),
    ("he long", "cp1255", "אתמול הלכנו לקולנוע וראינו סרט חדש.", None),
    ("ar", "cp1256", "مرحبا بالعالم", "windows-1256"),
    ("th", "cp874", "วันนี้อากาศดีมาก", "cp874"),
    ("ja", "shift_jis", "こんにちは世界", "cp932"),
    ("ja short", "shift_jis", "ありがとう", None),
    ("ja two", "shift_jis", "こんにちは世界\nありがとう", "cp932"),
    ("ja katakana", "shift_jis", "ありがとう\nカタカナのテスト", "cp932"),
    ("ja euc", "euc_jp", "こんにちは世界", "euc_jp"),
    ("ko", "cp949", "안녕하세요 세계", "cp949"),
    ("tw", "big5", "繁體中文字幕測試", "big5"),
    ("tw short", "big5", "你好，世界", None),
    ("cn", "gb18030", "山顶的雪", "gb18030"),
    ("cn gbk", "gbk", "简体中文字幕测试", None),
]


@pytest.mark.parametrize("language", ["chinese", "english"])
@pytest.mark.parametrize(
    ("encoding", "text", "name"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS]
)
def test_a_code_page_is_guessed_and_told(
    encoding: str, text: str, name: str | None, language: str
) -> None:
    found = read((HEAD + text + "\n").encode(encoding), language=language)
    assert [cue.text for cue in found.cues] == [text]
    (notice,) = found.notices
    assert notice.line == 3
    assert "is a guess" in notice.message
    assert known_encoding(notice.message.split("; ")[1].split()[0])
    assert name is None or f"; {name} is a guess" in notice.message


@pytest.mark.parametrize(
    "encoding",
    [
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"),
        *("utf-32", "utf-32-le", "utf-32-be", "iso2022_jp"),
    ],
)
def test_what_the_bytes_prove_is_not_told(encoding: str) -> None:
    found = read((HEAD + "雪が降る\n").encode(encoding))
    assert [cue.text for cue in found.cues] == ["雪が降る"]
    assert found.notices == ()


def test_the_encoding_that_is_told_wins() -> None:
    data = (HEAD + "Größe\n").encode("cp1252")
    assert read(data, encoding="cp1250").notices == ()
    assert read((HEAD + "Привет\n").encode("koi8-r"), encoding="cp1251").cues[0].text != "Привет"
    assert read((HEAD + "山\n").encode("utf-8-sig"), encoding="cp1252").cues[0].text == "山"


def test_bytes_that_are_not_in_the_encoding_are_refused_with_their_line() -> None:
    data = (HEAD + "Größe\n").encode("cp1252")
    with pytest.raises(SubtitleError, match=r"^line 3: the bytes f6 df 65 0a are not utf-8"):
        read(data, encoding="utf-8")
    with pytest.raises(SubtitleError, match="unknown encoding klingon"):
        read(data, encoding="klingon")
    for odd in ("base64", "rot13", "", "\0", "hex", "undefined"):
        assert not known_encoding(odd)


@pytest.mark.parametrize(
    "data",
    [
        (HEAD + "画面很好看，真的很好").encode()[:-1],
        (HEAD + "a\ufffdb\n").encode(),
        (HEAD + "雪\n").encode("utf-16") + b"\0",
    ],
    ids=["cut", "replaced before", "odd"],
)
def test_damaged_characters_are_told(data: bytes) -> None:
    (notice,) = read(data).notices
    assert "1 character is damaged" in notice.message
    assert notice.line >= 3


def test_utf_8_is_not_a_guess_in_any_language() -> None:
    text = "Größe Привет שלום สวัสดี 你好 안녕"
    assert decode(text.encode()) == (text, None, None, None)


@pytest.mark.parametrize(
    ("text", "language", "name"),
    [
        ("谢谢", "chinese", "gb18030"),  # лл in UTF-8: no word has no vowel
        ("谢谢", "zh-Hans", "gb18030"),
        ("谢谢", "english", "gb18030"),
        ("谢谢", "ru", None),
        ("谢谢！谢谢", "chinese", "gb18030"),
    ],
)
def test_what_is_utf_8_by_chance_is_chinese_where_it_is_no_word(
    text: str, language: str, name: str | None
) -> None:
    data = (HEAD + text + "\n").encode("gb18030")
    found = read(data, language=language)
    assert (found.cues[0].text == text) == (name is not None)
    assert [one.message for one in found.notices if f"{name} is a guess" in one.message] or not name


def test_what_may_be_either_is_a_guess_that_is_told() -> None:
    data = (HEAD + "дома\n").encode()
    found = read(data, language="chinese")
    assert (found.cues[0].text, found.encoding, found.rival) == ("дома", "utf-8", "gb18030")
    (notice,) = found.notices
    assert notice.message.startswith("the text may be utf-8 or gb18030; utf-8 is a guess, so look")
    assert read(data, language="ru").notices == ()
    assert read(data, encoding="utf-8", language="chinese").notices == ()


@pytest.mark.parametrize(
    "text", ["café", "Ça va, père Noël ?", "Привет, мир", "дома, сказал он", "谢谢", "שלום", "½ l"]
)
def test_utf_8_that_is_nothing_else_is_certain(text: str) -> None:
    found = read((HEAD + text + "\n").encode(), language="chinese")
    assert (found.cues[0].text, found.notices, found.rival) == (text, (), None)


# Bytes of nothing in Windows-1252; browsers keep them as they are.
UNDEFINED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}


def misread(data: bytes, taken: str) -> str:
    if taken != "windows-1252":
        return data.decode(taken)
    return "".join(
        chr(byte) if byte in UNDEFINED else bytes((byte,)).decode(taken) for byte in data
    )


GARBLED = [
    ("Très intéressant, merci", "utf-8", "windows-1252"),
    ("“Don’t” – ½", "utf-8", "windows-1252"),
    ("café", "utf-8", "windows-1252"),
    ("Привет, мир", "utf-8", "windows-1252"),
    ("Привет, мир", "utf-8", "windows-1251"),
    ("你好，世界很大啊", "utf-8", "windows-1252"),
    ("你好，世界很大啊", "utf-8", "gb18030"),
    ("こんにちは世界", "utf-8", "cp932"),
    ("你好，世界", "gb18030", "windows-1252"),
    ("Привет, мир", "windows-1251", "windows-1252"),
]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(("text", "was", "taken"), GARBLED)
def test_what_was_misread_before_it_was_saved_is_undone_and_told(
    text: str, was: str, taken: str, mark: bytes
) -> None:
    garbled = misread(text.encode(was), taken)
    data = mark + (HEAD + garbled + "\n").encode()
    found = read(data)
    assert [cue.text for cue in found.cues] == [text]
    (notice,) = found.notices
    assert notice.line == 3
    assert f"it was {was}, taken for {taken}; that is undone" in notice.message
    as_it_is = read(data.removeprefix(mark), encoding="utf-8").cues[0].text
    assert as_it_is == garbled.translate(dict.fromkeys(range(0x80, 0xA0), " "))


@pytest.mark.parametrize(
    "text",
    [
        *("Très intéressant, merci", "Größe über alles", "naïve", "½ l", "♪ la ♪", "π ≈ 3", "€ 20"),
        *("ÀÉÎÕÜ", "ÄÖÜ äöü", "ÉTÉ À LA MER", "СОЮЗ", "Привет, мир", "谢谢大家", "こんにちは世界"),
        *("안녕하세요 세계", "שלום עולם", "สวัสดีชาวโลก", "Zażółć gęślą jaźń", "Đây là", "β"),
    ],
)
def test_text_that_is_right_is_left_alone(text: str) -> None:
    for language in ("chinese", "english", "ru"):
        found = read((HEAD + text + "\n").encode(), language=language)
        assert [cue.text for cue in found.cues] == [text]


def test_emoji_in_two_halves_and_chinese_in_seven_bits() -> None:
    halves = "🎉".encode("utf-16-be").hex()
    pair = "".join(chr(int(half, 16)) for half in (halves[:4], halves[4:]))
    data = (HEAD + f"Done {pair}\n").encode("utf-8", "surrogatepass")
    assert (read(data).cues[0].text, read(data).notices) == ("Done 🎉", ())
    found = read((HEAD + "你好，世界\n").encode("hz"))
    assert (found.cues[0].text, found.notices) == ("你好，世界", ())
