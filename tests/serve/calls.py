"""Calls as chat programs send them, of both kinds: their own tasks, and their owners' turns."""

import json
from itertools import cycle, islice

from edgepers.assets import sample_stream

ROWS = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()]
TALKS = [[(row["question"], row["reference"]) for row in ROWS[i : i + 2]] for i in range(0, 600, 40)]

# As Open WebUI's templates are built: a section that says what to do, guidelines, the form of the output, the talk.
OPEN_WEBUI = {
    "title": """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Guidelines:
- The title should clearly represent the main theme of the conversation.
### Output:
JSON format: {{ "title": "your concise title here" }}
### Examples:
- {{ "title": "📉 Stock Market Trends" }}
### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "title, 2024": "Create a concise, 3-5 word phrase as a header for the following query, strictly adhering to the 3-5"
    " word limit and avoiding the use of the word 'title': {question}",
    "title, 2024, with examples": """Here is the query:
{question}

Create a concise, 3-5 word phrase with an emoji as a title for the previous query. Suitable Emojis for the summary can
be used to enhance understanding but avoid quotation marks or special formatting. RESPOND ONLY WITH THE TITLE TEXT.

Examples of titles:
📉 Stock Market Trends
🍪 Perfect Chocolate Chip Recipe""",
    "tags": """### Task:
Generate 1-3 broad tags categorizing the main themes of the chat history, along with 1-3 more specific subtopic tags.

### Guidelines:
- Start with high-level domains (e.g. Science, Technology)

### Output:
JSON format: {{ "tags": ["tag1", "tag2", "tag3"] }}

### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "follow-ups": """### Task:
Suggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next in this conversation as a
**user**, based on the chat history, to help continue or deepen the discussion.
### Guidelines:
- Make questions concise, clear, and directly related to the discussed topic(s).
### Output:
JSON format: {{ "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }}
### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "image prompt": """### Task:
Generate a detailed prompt for am image generation task based on the given language and context. Describe the image as
if you were explaining it to someone who cannot see it.

### Guidelines:
- Be descriptive and detailed.

### Output:
Strictly return in JSON format:
{{ "prompt": "Your detailed description here." }}

### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "search queries": """### Task:
Analyze the chat history to determine the necessity of generating search queries, in the given language. By default,
**prioritize generating 1-3 broad and relevant search queries** unless it is absolutely certain that no additional
information is required.

### Guidelines:
- Respond **EXCLUSIVELY** with a JSON object.

### Output:
Strictly return in JSON format:
{{ "queries": ["query1", "query2"] }}

### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "autocompletion": """### Task:
You are an autocompletion system. Continue the text in `<text>` based on the **completion type** in `<type>` and the
given language.

### **Instructions**:
1. Analyze `<text>` for context and meaning.

### **Output Rules**:
- Respond only in JSON format: `{{ "text": "<your_completion>" }}`.

---
### Context:
<chat_history>
{talk}
</chat_history>
<type>General</type>
<text>{question}</text>
#### Output:
""",
    "emoji": "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Interpret"
    " emotions from the message and reflect their facial expression using fitting, diverse emojis (e.g., 😊, 😢, 😡)."
    "\n\nMessage: ```{question}```",
    "several answers": 'You have been provided with a set of responses from various models to the latest user query: "'
    '{question}"\n\nYour task is to synthesize these responses into a single, high-quality response. It is crucial to'
    " critically evaluate the information provided.\n\nResponses from models: {answer}",
    "title, in German": """### Task:
Erzeuge einen knappen Titel mit 3 bis 5 Wörtern für den Gesprächsverlauf.
### Guidelines:
- Der Titel soll das Thema nennen.
### Output:
JSON format: {{ "title": "Titel" }}
### Chat History:
<chat_history>
{talk}
</chat_history>""",
    "tags, shortened by hand": "### Task: pick tags for this\n<chat_history>\n{talk}\n</chat_history>",
}
TOOLS_SYSTEM = """Available Tools: [{"name": "get_weather", "parameters": {"city": "string"}}]

Your task is to choose and return the correct tool(s) from the list of available tools based on the query. Follow these
guidelines:

- Return only the JSON object, without any additional text or explanation."""
# Of other programs; system and user turn.
OTHERS = [
    (
        "",
        "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the"
        " title itself.\n\nConversation:\nUser: {question}\nAI: {answer}",
    ),
    (
        "",
        "Based on the chat history, give this conversation a name.\nKeep it short - 10 characters max, no quotes.\nUse"
        " English.\nJust provide the name, nothing else.\n\nHere's the conversation:\n\n```\n{talk}\n```\n\nName this"
        " conversation in 10 characters or less.",
    ),
    (
        "You are an assistant skilled in conversation. You need to summarize the user's conversation into a title"
        " within 10 words. The language of the title should be consistent with the user's primary language. Do not use"
        " punctuation marks or other special symbols",
        "{talk}",
    ),
    (
        "You are a professional conversation summarizer. Generate a concise title that captures the essence of the"
        " conversation. Only output the title text.",
        "{talk}",
    ),
    ("", 'Summarize in a 10-word Title. Give the title only. Here is the conversation: "{question}"'),
    (
        "You are an AI conversation titles assistant who specializes in creating expressive yet few-words chat titles.",
        "Analyze the given short conversation (every line is truncated) and extract a concise chat title that"
        " summarizes the conversation in as little as a couple of words.\n\n{talk}",
    ),
    (
        "",
        "Given the following conversation and a follow up question, rephrase the follow up question to be a standalone"
        " question.\n\nChat History:\n{talk}\nFollow Up Input: {question}\nStandalone question:",
    ),
]
LAST_TURNS = [  # after the whole talk, as its next turn
    "Please generate a four to five word title summarizing our conversation without any lead-in, punctuation, quotation"
    " marks, periods, symbols, bold text, or additional text. Remove enclosing quotation marks.",
    "Summarize the discussion briefly in 200 words or less to use as a prompt for future context.",
    "Generate a concise 3-7 word title for this conversation, omitting punctuation. Go straight to the title, without"
    " any preamble and prefix like `Here's a concise suggestion:...` or `Title:`.",
]


def _user(text, system=""):
    return [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": text}]


def _talk_turns(talk):
    return [
        {"role": role, "content": text} for pair in talk for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def task_calls():
    """(kind, messages) of what a program asks for itself."""
    for talk in TALKS:
        question, answer = talk[-1]
        told = "\n".join(f"USER: {asked}\nASSISTANT: {said}" for asked, said in talk)
        filled = {"talk": told, "question": question, "answer": answer}
        for kind, template in OPEN_WEBUI.items():
            yield kind, _user(template.format(**filled))
        yield "tools", _user(f'Query: History:\nUSER: """{question}"""\nQuery: {question}', TOOLS_SYSTEM)
        for number, (system, user) in enumerate(OTHERS):
            yield f"other {number}", _user(user.format(**filled), system)
        for number, last in enumerate(LAST_TURNS):
            yield f"last turn {number}", [*_talk_turns(talk), {"role": "user", "content": last}]


RETRIEVED = """### Task:
Respond to the user query using the provided context, incorporating inline citations in the format [id] **only when the
<source> tag includes an explicit id attribute** (e.g., <source id="1">).

### Guidelines:
- If you don't know the answer, clearly state that.
- Respond in the same language as the user's query.

### Example of Citation:
If the user asks about a specific topic and the information is found in a source with a provided id attribute, the
response should include the citation like in the following example:
* "According to the study, the proposed method increases efficiency by 20% [1]."

### Output:
Provide a clear and direct response to the user's query.

<context>
<source id="1" name="notes.md">The secret ingredient is cardamom. {answer}</source>
</context>
"""
HOUSE = """You are a voice assistant for Home Assistant.
Answer questions about the world truthfully. Answer in plain text. Keep it simple and to the point.
When controlling Home Assistant always call the intent tools.
An overview of the areas and the devices in this smart home:
- names: Kitchen Light
  domain: light
  state: 'off'
  areas: Kitchen"""
TRICKY = [
    "Suggest a title for my poem about the sea.",
    "What would be a good title for the talk I give on Monday? It is about bees.",
    "Give me three titles for my novel, only short ones.",
    "### Task: plan my week with two runs and one swim",
    "### Task:\nWrite a letter to my landlord about the heating.",
    "# Task: explain recursion to my son",
    "Summarize the conversation that I had with my boss: he wants me to move to Lyon, I do not.",
    "Summarize our conversation so far.",
    "Can you sum up what we discussed?",
    "Write three follow-up questions for my interview with the mayor.",
    "Give me five tags for my blog post about sourdough.",
    "Suggest 5 questions I should ask the doctor.",
    "What should I type into a search engine to find cheap flights to Oslo?",
    "Generate a search query for papers on bees.",
    "Which emoji fits a message to my grandmother?",
    "Rephrase this politely: I will not come to your party.",
    "Complete this sentence: the sun was setting over",
    "Continue my story: The old man opened the door.",
    "What does <context> mean in linguistics?",
    "How do I write a <title> tag in HTML?",
    'Explain this JSON to me: {"title": "A day at the lake"}',
    'Is this valid JSON? {"tags": ["a", "b"]}',
    "Write a Python function that returns the title of a web page, only the code.",
    "Answer in at most ten words: who was Ada Lovelace?",
    "Reply only with yes or no: is a whale a fish?",
    "Translate into German, nothing else: Good morning, how are you?",
    "In one word: what is the capital of Peru?",
    "Keep it brief: why is the sky blue?",
    "Give my dog a name, he is brown and sleeps a lot.",
    "Give me a name for our book club, short please.",
    "Create a prompt for an image of a red fox in the snow.",
    "What was the title of the book that I told you about?",
    "What is the title of the discussion on page four of the minutes?",
    "Please write the heading for the invitation to the exchange students' party.",
    "My task is to synthesize aspirin in class. What do I need?",
    "You are a pirate. Tell me about your day.",
    "Act as my Spanish teacher and correct me: Yo soy hambre.",
    "List 3-5 words that rhyme with cat.",
    "Write a haiku about the chat we had.",
    "The guidelines say that I must answer in two days. Is that legal?",
    "Output of my program: 42. Why?",
    "Turn on the kitchen light.",
    "What did I say about the user query language at work?",
    "wie heißt mein Hund?",
    "我的狗叫什么名字？",
    "Fasse zusammen, was der Artikel über Bienen sagt.",
    "Merci. Et demain ?",
    "yes",
    "no, the other one",
    "thanks!",
]


def owner_calls():
    """(kind, messages) of what owners ask."""
    for row in ROWS[:200]:
        yield "alone", _user(row["question"])
    for row in ROWS[200:240]:
        yield "in a house", _user(row["question"], HOUSE)
    for talk, question in zip(cycle(TALKS), TRICKY, strict=False):
        yield "tricky", _user(question)
        yield "tricky, later", [*_talk_turns(talk), {"role": "user", "content": question}]
    for row in ROWS[240:280]:
        yield "retrieved", _user(RETRIEVED.format(answer=row["reference"]) + row["question"])
    for row in islice(ROWS, 280, 300):
        asked = RETRIEVED.format(answer=row["reference"]) + f"\n<user_query>\n{row['question']}\n</user_query>"
        yield "retrieved, 2024", _user(asked)
