import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepers.evaluate.rouge import rouge1, rouge1_unicode
from edgepers.streams.words import unicode_words
from edgepers.synth.check import refusal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't go, now_or never!", ["don", "t", "go", "now", "or", "never"]),
        ("我喜欢AI技术2024年", ["我", "喜", "欢", "ai", "技", "术", "2024", "年"]),
        ("東京へ行く", list("東京へ行く")),
        ("ｶﾞｷﾞ", ["ガ", "ギ"]),  # half-width, with the voicing as a letter of its own
        ("ผมไปตลาด", ["ผ", "ม", "ไ", "ป", "ต", "ล", "า", "ด"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("مرحبا، كيف حالك؟", ["مرحبا", "كيف", "حالك"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("Привет, мир", ["привет", "мир"]),
        ("안녕 세계", ["안녕", "세계"]),
        ("I ❤️ you 🎉 at 20°C", ["i", "❤", "you", "🎉", "at", "20", "c"]),
        ("cafe\u0301 ＡＢＣ", ["café", "abc"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_script(text, words):
    assert unicode_words(text) == words


ORIGINALS = {
    "Chinese": ("我的狗叫月亮，它喜欢在河里游泳。", "我的狗名叫月亮，很喜欢去河里游泳。", "明天火车几点出发？"),
    "Japanese": ("私の犬は月という名前です。", "うちの犬の名前は月です。", "電車は何時に出ますか"),
    "Thai": ("หมาของฉันชื่อมูน", "หมาฉันมีชื่อว่ามูน", "ขอโทษ"),
    "Arabic": ("اسم كلبي قمر وهو يحب السباحة", "كلبي اسم قمر ويعشق السباحة", "متى يغادر القطار غدا"),
    "Hindi": ("मेरे कुत्ते का नाम चाँद है", "कुत्ते का नाम मेरे घर में चाँद है", "ट्रेन कल कब जाएगी"),
    "Cyrillic": (
        "Мою собаку зовут Луна и она любит плавать",
        "Мою собаку зовут Луна, плавать она обожает",
        "Когда завтра поезд",
    ),
}


@pytest.mark.parametrize("language", ORIGINALS)
def test_a_variation_is_kept_and_other_text_is_not_in_any_language(language):
    original, variation, other = ORIGINALS[language]
    assert refusal(original, variation, []) == ""
    assert refusal(original, original, []) == "too_near"
    assert refusal(original, other, []) == "too_far"
    assert refusal(original, variation, [variation]) == "repeated"
    assert rouge1([original], [original]) in (
        0.0,
        1.0,
    )  # the reports' score stays rouge-score's, which knows a-z and digits alone


@given(st.text())
def test_any_text_is_its_own_whole_and_every_letter_is_in_a_word(text):
    words = unicode_words(text)
    assert all(words)
    assert rouge1_unicode(text, text) == (1.0 if words else 0.0)
